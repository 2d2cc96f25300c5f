"""How a training is shared out among processes: the effective batch, and the command that starts them."""

import math
import sys
from collections.abc import Mapping
from typing import NamedTuple

from common import files
from common.words import counted
from recipe.settings import Settings

NODE_VARIABLES = ("NNODES", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT")
FEWEST_TOKENS = 512
TRAIN = str(files.REPOSITORY / "scripts" / "recipe" / "fairseq_train.py")


class Plan(NamedTuple):
    """How an update is shared out: ``batch_tokens`` = processes x update_freq x max_tokens."""

    processes: int
    nodes: int
    update_freq: int
    max_tokens: int
    batch_tokens: int


def share_out(
    settings: Settings, processes: int, nodes: int = 1, max_tokens: int | None = None, update_freq: int | None = None
) -> Plan:
    """The Plan for so many processes on all nodes; what is None is chosen to meet the recipe's batch.

    Where whole batches of the recipe's size do not make it up, as with more processes than it has of them, each holds
    fewer tokens, but at least FEWEST_TOKENS, into which a long sentence still fits.
    """
    tokens = max_tokens or settings.max_tokens
    batches = settings.batch_tokens / (processes * tokens)
    if max_tokens is None and update_freq is None:
        update_freq = math.ceil(batches)
        tokens = max(min(tokens, FEWEST_TOKENS), settings.batch_tokens // (processes * update_freq))
    update_freq = update_freq or max(1, round(batches))
    return Plan(processes, nodes, update_freq, tokens, processes * update_freq * tokens)


def report(plan: Plan, recipe_tokens: int) -> list[str]:
    """What to print about the effective batch."""
    lines = [
        f"effective batch: {counted(plan.processes, 'process')} x update-freq {plan.update_freq} x max-tokens "
        f"{plan.max_tokens:,} = {plan.batch_tokens:,} tokens"
    ]
    if abs(plan.batch_tokens - recipe_tokens) >= plan.processes * plan.update_freq:  # more than rounding
        lines.append(
            f"WARNING: the recipe's effective batch is {recipe_tokens:,} tokens; with another, scores do not compare."
        )
    return lines


def launcher(plan: Plan, environment: Mapping[str, str]) -> list[str]:
    """The words before fairseq-train's own: plain Python for one process, torchrun for more."""
    if plan.processes == 1:
        return [sys.executable, TRAIN]
    args = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(plan.processes // plan.nodes)]
    if plan.nodes == 1:
        args.append("--standalone")
    else:
        for option in NODE_VARIABLES:
            args += [f"--{option.lower().replace('_', '-')}", environment[option]]
    return [*args, TRAIN]


def distributed_args(plan: Plan) -> list[str]:
    """Options for the processes of one training."""
    # fairseq takes the size that torchrun tells only where it already expects more than one process, which it does
    # not on machines with one GPU each: without this option, each of them would train by itself.
    args = ["--distributed-world-size", str(plan.processes)]
    # Else fairseq sends the checkpoint to the other processes in a form that torch >= 2.6 refuses.
    return args + (["--load-checkpoint-on-all-dp-ranks"] if plan.processes > 1 else [])


def node_count(environment: Mapping[str, str]) -> int:
    """The number of machines; one sentence and an end if what they need to find each other is not known."""
    nodes = environment.get("NNODES", "1")
    lacking = [name for name in NODE_VARIABLES if not environment.get(name)]
    if not nodes.isdigit() or (nodes != "1" and lacking):
        raise SystemExit(f"train: NNODES is '{nodes}'; it takes {', '.join(NODE_VARIABLES)}, see train.sbatch.")
    return int(nodes)
