"""Train a named model of a recipe with fairseq.

The settings are those of the recipe's train.yaml. A run that was interrupted goes on from its last checkpoint when the
same command is given again; a finished one is left alone. The folder of a run holds the checkpoints, train.log (JSON),
tensorboard/, and run.json: commit, package versions, machine and exact command of every start.

One process is started for each visible GPU (CUDA_VISIBLE_DEVICES), by torchrun if there are several. For several
machines with as many GPUs each, give every one of them NNODES, NODE_RANK, MASTER_ADDR and MASTER_PORT in the
environment, as the recipe's train.sbatch does.

SIGTERM and SIGUSR1, which SLURM sends before a time limit, end a training after the current update with a checkpoint,
and the status is 75: the same command goes on. A second signal, like Ctrl-C, ends it at once.
"""

import argparse
import contextlib
import hashlib
import os
import re
import shlex
import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common import arguments, command, failures, files, provenance
from common.training_log import readable
from common.words import counted
from recipe import models, record, settings, supervise
from recipe.plan import Plan, distributed_args, launcher, node_count, report, share_out
from recipe.settings import Settings

# Options of fairseq that this program sets itself, so that what it prints and records is what happens.
OWN_OPTIONS = [
    *("--arch", "--cpu", "--distributed-world-size", "--max-tokens", "--max-update", "--save-dir", "--seed"),
    *("--tensorboard-logdir", "--update-freq"),
    *("--amp", "--bf16", "--fp16", "--memory-efficient-bf16", "--memory-efficient-fp16"),
]

LAST_LINES = 1000  # of a training that failed, among which its error is looked for: torchrun adds dozens


def cpu_args(chosen: Settings) -> list[str]:
    """Options for --cpu. Where validation translates, a few batches do: all would take longer than the updates."""
    return ["--cpu", *(["--max-valid-steps", "2", "--log-interval", "5"] if "--eval-bleu" in chosen.args else [])]


def decay_args(args: argparse.Namespace) -> list[str]:
    """The number of updates for the one scheduler that fairseq does not tell it."""
    decays = settings.chosen_parts(args.fairseq_options).get("lr_scheduler") == "polynomial_decay"
    return ["--total-num-update", str(args.max_update)] if decays else []


def fairseq_args(args: argparse.Namespace, chosen: Settings, plan: Plan, precision: Sequence[str]) -> list[str]:
    """All arguments of fairseq-train."""
    return [
        str(args.data / "data-bin"),
        *("--user-dir", str(files.REPOSITORY / "sret_fairseq")),
        *models.model_args(args.model, args.recipe.name),
        *chosen.args,
        *("--max-tokens", str(plan.max_tokens), "--update-freq", str(plan.update_freq)),
        *("--max-tokens-valid", str(args.max_tokens or chosen.max_tokens)),
        *("--max-update", str(args.max_update), "--seed", str(args.seed)),
        *("--save-dir", str(args.save_dir), "--tensorboard-logdir", str(args.save_dir / "tensorboard")),
        *distributed_args(plan),
        *(cpu_args(chosen) if args.cpu else precision),
        *decay_args(args),
        *args.fairseq_options,
    ]


def check_data(args: argparse.Namespace, languages: tuple[str, str]) -> None:
    """Exit with one sentence unless the binarised text is there."""
    pair = "-".join(languages)
    names = [f"dict.{language}.txt" for language in languages]
    names += [f"train.{pair}.{language}.{kind}" for language in languages for kind in ("bin", "idx")]
    for name in names:
        if not (args.data / "data-bin" / name).is_file():
            raise SystemExit(
                f"train: {args.data / 'data-bin'} lacks {name}; run {args.recipe.name}/prepare.sh first, or name the "
                f"folder that it made: --data DIR."
            )


def follow(program: Sequence[str], log_path: Path, lock: int, name: str, updates: int) -> tuple[int, deque[str]]:
    """Run a training, append what it says to its log, print a line for each report; its status and its last lines."""
    last = deque(maxlen=LAST_LINES)
    with open(log_path, "a", encoding="utf-8") as log:
        log.write(f"\n$ {shlex.join(program)}\n")

        def read(line: str) -> None:
            log.write(line)
            log.flush()
            last.append(line)
            text = readable(line, updates)
            if text:
                print(f"{name}: {text}", flush=True)

        return supervise.run(program, read, [lock]), last


def first_node() -> bool:
    """Whether this is the machine that keeps the log and the record."""
    return os.environ.get("NODE_RANK", "0") == "0"


def parse_args(argv: Sequence[str]) -> argparse.Namespace:
    """The command line's options; ``fairseq_options`` are those after ``--``."""
    split = argv.index("--") if "--" in argv else len(argv)
    recipe = argparse.ArgumentParser(add_help=False)
    recipe.add_argument("--recipe", type=arguments.path, required=True, help=argparse.SUPPRESS)
    folder = recipe.parse_known_args(argv[:split])[0].recipe
    table = models.model_list(folder.name)
    parser = argparse.ArgumentParser(
        prog="train.sh",
        usage="bash train.sh MODEL [OPTIONS] [-- OPTIONS OF FAIRSEQ-TRAIN]",
        description=__doc__,
        epilog=f"models:\n{table}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[recipe],
        allow_abbrev=False,
    )
    # fmt: off
    parser.add_argument("model", metavar="MODEL", help="a model of the table below")
    parser.add_argument("--list", action="version", version=table, help="print the table of models")
    parser.add_argument("--cpu", action="store_true", help="train on the CPU, to see that all works")
    parser.add_argument("--max-update", type=arguments.at_least(1), metavar="N", help="updates (default: the recipe's)")
    parser.add_argument("--seed", type=arguments.at_least(1), metavar="N", help="random seed (default: 1)")
    parser.add_argument("--max-tokens", type=arguments.at_least(1), metavar="N",
                        help="tokens of a batch on one GPU (default: the recipe's)")
    parser.add_argument("--update-freq", type=arguments.at_least(1), metavar="N",
                        help="batches of a GPU in an update (default: what makes the recipe's effective batch)")
    parser.add_argument("--precision", choices=["bf16", "fp16", "amp", "fp32"],
                        help="number format (default: the one that the GPU multiplies fastest)")
    parser.add_argument("--data", type=arguments.path, metavar="DIR",
                        help="the folder that prepare.sh made (default: $DATA or data/RECIPE)")
    parser.add_argument("--save-dir", type=arguments.path, metavar="DIR",
                        help="the folder of the run (default: MODEL, with --seed MODEL-seedN, in $RUNS or runs/RECIPE)")
    # fmt: on
    args = parser.parse_args(argv[:split])
    args.fairseq_options = argv[split + 1 :]
    for word in args.fairseq_options:
        if word.split("=")[0] in OWN_OPTIONS or re.match("-a(?!-)", word):
            parser.error(
                f"{word} stands behind --, where train.sh would not see it; put it before (--arch is MODEL, --fp16 and "
                f"its like are --precision)."
            )
    if args.cpu and args.precision not in (None, "fp32"):
        parser.error(f"--precision {args.precision} is for a GPU; with --cpu it is fp32.")
    return args


def identity(args: argparse.Namespace, chosen: Settings) -> dict[str, Any]:
    """What a folder holds a run of: other updates, batches and machines are the same run, gone on with.

    An index holds the lengths of all sentences; with the beginning of the text it tells one text from another.
    """
    source, target = chosen.languages
    binarised = args.data / "data-bin"
    text = [binarised / f"train.{source}-{target}.{language}" for language in (source, target)]
    return {
        "recipe": args.recipe.name,
        "model": args.model,
        "seed": args.seed,
        "options": shlex.join(args.fairseq_options),
        "dictionary": digest(binarised / f"dict.{target}.txt"),
        "text": digest(*(side.with_name(f"{side.name}.idx") for side in text)),
        "beginning": digest(*(side.with_name(f"{side.name}.bin") for side in text), size=1 << 24),
        "train.yaml": hashlib.sha256(shlex.join(chosen.args).encode()).hexdigest()[:12],
    }


def digest(*paths: Path, size: int = -1) -> str:
    """The beginning of the SHA-256 of files, or of the first ``size`` bytes of each."""
    total = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            total.update(file.read(size))
    return total.hexdigest()[:12]


def complete(args: argparse.Namespace, chosen: Settings) -> None:
    """Fill in what was not given."""
    name = args.recipe.name
    runs = settings.runs_folder(name)
    suffix = f"-seed{args.seed}" if args.seed else ""
    args.save_dir = (args.save_dir or runs / f"{args.model}{suffix}").resolve()
    args.seed = args.seed or chosen.seed
    args.max_update = args.max_update or chosen.max_update


def precision_args(wanted: str | None, gpus: Sequence[dict[str, Any]]) -> list[str]:
    """The option for a number format, as a list; None is the one that all these GPUs multiply fast."""
    if wanted is None:
        return provenance.precision(gpus)
    return [] if wanted == "fp32" else [f"--{wanted}"]


def prepare(args: argparse.Namespace, chosen: Settings) -> tuple[list[str], dict[str, Any]]:
    """The command that trains, and what run.json says of it."""
    hardware = provenance.hardware_asked()
    gpus = [] if args.cpu else hardware["gpus"]
    if not gpus and not args.cpu:
        raise SystemExit("train: no GPU is visible; --cpu trains on the CPU, which suffices to see that all works.")
    nodes = 1 if args.cpu else node_count(os.environ)
    plan = share_out(chosen, nodes * max(1, len(gpus)), nodes, max_tokens=args.max_tokens, update_freq=args.update_freq)
    precision = precision_args(args.precision, gpus)
    program = [*launcher(plan, os.environ), *fairseq_args(args, chosen, plan, precision)]
    number_format = precision[0].removeprefix("--") if precision else "fp32"
    print(*report(plan, chosen.batch_tokens), *chosen.left_out, sep="\n")
    print(f"number format: {number_format}\n$ {shlex.join(program)}", flush=True)
    facts = {
        "asked": shlex.join(sys.argv),
        "command": shlex.join(program),
        "batch": {**plan._asdict(), "recipe_tokens": chosen.batch_tokens},
        "precision": number_format,
        **provenance.commit(files.REPOSITORY),
        "hardware": hardware,
        "packages": provenance.packages(),
    }
    return program, facts


def train(args: argparse.Namespace, chosen: Settings, lock: int) -> int:
    """Go on with the training until it is finished; the exit status."""
    same = identity(args, chosen)
    record.check_same(args.save_dir, **same)
    done = record.repair(args.save_dir) if first_node() else record.updates_done(args.save_dir)
    record.check_diverged(args.save_dir)
    if done >= args.max_update or record.finished(args.save_dir, args.max_update):
        print(f"{args.model}: finished after {counted(done, 'update')}, see {args.save_dir}; --max-update N trains on.")
        return 0
    print(f"{args.model}: {'from update ' + format(done, ',') if done else 'from the start'}, into {args.save_dir}")
    program, facts = prepare(args, chosen)
    if not first_node():
        return supervise.run(program, lambda line: print(line, end="", flush=True))

    record.begin(args.save_dir, same, updates_before=done, max_update=args.max_update, **facts)
    status, log = "interrupted", args.save_dir / "train.log"
    try:
        code, said = follow(program, log, lock, args.model, args.max_update)
        status = {0: "finished", supervise.STOPPED: "interrupted"}.get(code, "failed")
    finally:
        record.end(args.save_dir, status, record.repair(args.save_dir))
    if status == "failed":
        print(failures.sentence(f"train: {args.model}", said, code, log), file=sys.stderr)
        return 1
    return code


def main() -> int:
    """Run the command line."""
    args = parse_args(sys.argv[1:])
    models.model_args(args.model, args.recipe.name)
    args.data = (args.data or settings.data_folder(args.recipe.name)).resolve()
    chosen = settings.read(args.recipe / "train.yaml", args.data, args.fairseq_options)
    complete(args, chosen)
    check_data(args, chosen.languages)
    supervise.end_on_signals()
    lock = supervise.locked(args.save_dir) if first_node() else contextlib.nullcontext()
    with supervise.environment_kept(), lock as descriptor:
        return train(args, chosen, descriptor)


if __name__ == "__main__":
    command.run(main)
