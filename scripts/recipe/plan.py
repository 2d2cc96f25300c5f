"""How a training is shared out among processes: the effective batch, and the command that starts them."""

import sys
from collections import namedtuple

NODE_VARIABLES = ("NNODES", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT")

Plan = namedtuple("Plan", "processes nodes update_freq max_tokens batch_tokens")
Plan.__doc__ = """How an update is shared out: ``batch_tokens`` = processes x update_freq x max_tokens."""


def share_out(settings, processes, nodes=1, max_tokens=None, update_freq=None):
    """The Plan for so many processes on all nodes; an option that is None is chosen to meet the recipe's batch."""
    max_tokens = max_tokens or settings.max_tokens
    update_freq = update_freq or max(1, round(settings.batch_tokens / (processes * max_tokens)))
    return Plan(processes, nodes, update_freq, max_tokens, processes * update_freq * max_tokens)


def report(plan, recipe_tokens):
    """What to print about the effective batch."""
    lines = [
        f"effective batch: {plan.processes} process(es) x update-freq {plan.update_freq} x max-tokens "
        f"{plan.max_tokens:,} = {plan.batch_tokens:,} tokens"
    ]
    if plan.batch_tokens != recipe_tokens:
        lines.append(
            f"WARNING: the recipe's effective batch is {recipe_tokens:,} tokens; with another, scores do not compare."
        )
    return lines


def launcher(plan, environment):
    """The words before fairseq-train's own: plain Python for one process, torchrun for more."""
    if plan.processes == 1:
        return [sys.executable, "-m", "fairseq_cli.train"]
    words = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(plan.processes // plan.nodes)]
    if plan.nodes == 1:
        words.append("--standalone")
    else:
        for option in NODE_VARIABLES:
            words += [f"--{option.lower().replace('_', '-')}", environment[option]]
    return [*words, "-m", "fairseq_cli.train"]


def distributed_words(plan):
    """Options for the processes of one training."""
    # fairseq takes the size that torchrun tells only where it already expects more than one process, which it does
    # not on machines with one GPU each: without this option, each of them would train by itself.
    words = ["--distributed-world-size", str(plan.processes)]
    # Else fairseq sends the checkpoint to the other processes in a form that torch >= 2.6 refuses.
    return words + (["--load-checkpoint-on-all-dp-ranks"] if plan.processes > 1 else [])


def node_count(environment):
    """The number of machines; one sentence and an end if what they need to find each other is not known."""
    nodes = environment.get("NNODES", "1")
    lacking = [name for name in NODE_VARIABLES if not environment.get(name)]
    if not nodes.isdigit() or (nodes != "1" and lacking):
        raise SystemExit(f"train: NNODES is '{nodes}'; it takes {', '.join(NODE_VARIABLES)}, see train.sbatch.")
    return int(nodes)
