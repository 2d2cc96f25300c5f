"""Train a named model of a recipe with fairseq.

The settings are those of the recipe's train.yaml. A run that was interrupted goes on from its last checkpoint when the
same command is given again; a finished one is left alone. The folder of a run holds the checkpoints, train.log (JSON),
tensorboard/, and run.json: commit, package versions, machine and exact command of every start.

One process is started for each visible GPU (CUDA_VISIBLE_DEVICES), by torchrun if there are several. For several
machines with as many GPUs each, give every one of them NNODES, NODE_RANK, MASTER_ADDR and MASTER_PORT in the
environment, as the recipe's train.sbatch does.
"""

import argparse
import contextlib
import fcntl
import hashlib
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

from common import files
from common import provenance as surroundings
from quickstart.progress import readable
from recipe import models as recipe_models
from recipe import plan as training_plan
from recipe import record as run_record
from recipe import resume
from recipe import settings as recipe_settings

# Options of fairseq that this program sets itself, so that what it prints and records is what happens.
OWN_OPTIONS = [
    *("--arch", "--cpu", "--distributed-world-size", "--max-tokens", "--max-update", "--save-dir", "--seed"),
    *("--tensorboard-logdir", "--update-freq"),
    *("--amp", "--bf16", "--fp16", "--memory-efficient-bf16", "--memory-efficient-fp16"),
]


def cpu_words(settings):
    """Options for --cpu. Where validation translates, a few batches do: all would take longer than the updates."""
    return ["--cpu", *(["--max-valid-steps", "2", "--log-interval", "5"] if "--eval-bleu" in settings.words else [])]


def fairseq_words(args, settings, plan, precision):
    """All words for fairseq-train."""
    return [
        str(args.data / "data-bin"),
        *("--user-dir", str(files.REPOSITORY / "sret_fairseq")),
        *recipe_models.model_words(args.model, args.recipe.name),
        *settings.words,
        *("--max-tokens", str(plan.max_tokens), "--update-freq", str(plan.update_freq)),
        *("--max-update", str(args.max_update), "--seed", str(args.seed)),
        *("--save-dir", str(args.save_dir), "--tensorboard-logdir", str(args.save_dir / "tensorboard")),
        *training_plan.distributed_words(plan),
        *(cpu_words(settings) if args.cpu else precision),
        *args.fairseq_options,
    ]


def check_data(args, languages):
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


@contextlib.contextmanager
def locked(folder):
    """Hold a folder, with a file that fairseq's processes hold too: two trainings in it would mix their checkpoints."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "lock").touch()
    except OSError as error:
        raise SystemExit(f"train: --save-dir {folder} cannot be written: {error.strerror}.") from error
    with files.held(folder / "lock", f"train: another training is running in {folder}.") as lock:
        yield lock


@contextlib.contextmanager
def environment_kept():
    """Hold the environment that this program runs in, so that no setup.sh empties it meanwhile."""
    path = Path(sys.prefix) / "sret_fairseq.setup.lock"
    if not path.exists():
        yield  # an environment of the user's own
        return
    with open(path, "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield


def run(command, log_path, lock, name, updates):
    """Run a training, append what it says to its log, print a line for each report; its exit status."""
    with open(log_path, "a", encoding="utf-8") as log:
        log.write(f"\n$ {shlex.join(command)}\n")
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            pass_fds=[lock],
        )
        try:
            for line in process.stdout:
                log.write(line)
                log.flush()
                text = readable(line, updates)
                if text:
                    print(f"{name}: {text}", flush=True)
            return process.wait()
        finally:
            process.terminate()
            process.wait()


def first_node():
    """Whether this is the machine that keeps the log and the record."""
    return os.environ.get("NODE_RANK", "0") == "0"


def positive(text):
    """A whole number from 1 up."""
    if not (text.isascii() and text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def parse_args(words):
    """The command line's options; ``fairseq_options`` are the words after ``--``."""
    split = words.index("--") if "--" in words else len(words)
    recipe = argparse.ArgumentParser(add_help=False)
    recipe.add_argument("--recipe", type=Path, required=True, help=argparse.SUPPRESS)
    folder = recipe.parse_known_args(words[:split])[0].recipe
    table = recipe_models.model_list(folder.name)
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
    parser.add_argument("--max-update", type=positive, metavar="N", help="updates (default: the recipe's)")
    parser.add_argument("--seed", type=positive, metavar="N", help="random seed (default: 1)")
    parser.add_argument("--max-tokens", type=positive, metavar="N",
                        help="tokens of a batch on one GPU (default: the recipe's)")
    parser.add_argument("--update-freq", type=positive, metavar="N",
                        help="batches of a GPU in an update (default: what makes the recipe's effective batch)")
    parser.add_argument("--precision", choices=["bf16", "fp16", "amp", "fp32"],
                        help="number format (default: the one that the GPU multiplies fastest)")
    parser.add_argument("--data", type=Path, metavar="DIR",
                        help="the folder that prepare.sh made (default: $DATA or data/RECIPE)")
    parser.add_argument("--save-dir", type=Path, metavar="DIR",
                        help="the folder of the run (default: MODEL, with --seed MODEL-seedN, in $RUNS or runs/RECIPE)")
    # fmt: on
    args = parser.parse_args(words[:split])
    args.fairseq_options = words[split + 1 :]
    for word in args.fairseq_options:
        if word.split("=")[0] in OWN_OPTIONS or re.match("-a(?!-)", word):
            parser.error(
                f"{word} stands behind --, where train.sh would not see it; put it before (--arch is MODEL, --fp16 and "
                f"its like are --precision)."
            )
    if args.cpu and args.precision not in (None, "fp32"):
        parser.error(f"--precision {args.precision} is for a GPU; with --cpu it is fp32.")
    return args


def identity(args, settings):
    """What a folder holds a run of: other updates, batches and machines are the same run, gone on with.

    An index holds the lengths of all sentences; with the beginning of the text it tells one text from another.
    """
    source, target = settings.languages
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
        "train.yaml": hashlib.sha256(shlex.join(settings.words).encode()).hexdigest()[:12],
    }


def digest(*paths, size=-1):
    """The beginning of the SHA-256 of files, or of the first ``size`` bytes of each."""
    total = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            total.update(file.read(size))
    return total.hexdigest()[:12]


def complete(args, settings):
    """Fill in what was not given."""
    name = args.recipe.name
    runs = recipe_settings.runs_folder(name)
    suffix = f"-seed{args.seed}" if args.seed else ""
    args.save_dir = (args.save_dir or runs / f"{args.model}{suffix}").resolve()
    args.seed = args.seed or settings.seed
    args.max_update = args.max_update or settings.max_update


def number_format_words(wanted, gpus):
    """The option for a number format, as a list; None is the one that all these GPUs multiply fast."""
    if wanted is None:
        return surroundings.precision(gpus)
    return [] if wanted == "fp32" else [f"--{wanted}"]


def prepare(args, settings):
    """The command that trains, and what run.json says of it."""
    hardware = surroundings.hardware_asked()
    gpus = [] if args.cpu else hardware["gpus"]
    if not gpus and not args.cpu:
        raise SystemExit("train: no GPU is visible; --cpu trains on the CPU, which suffices to see that all works.")
    nodes = 1 if args.cpu else training_plan.node_count(os.environ)
    plan = training_plan.share_out(
        settings, nodes * max(1, len(gpus)), nodes, max_tokens=args.max_tokens, update_freq=args.update_freq
    )
    precision = number_format_words(args.precision, gpus)
    command = [*training_plan.launcher(plan, os.environ), *fairseq_words(args, settings, plan, precision)]
    number_format = precision[0].removeprefix("--") if precision else "fp32"
    print(*training_plan.report(plan, settings.batch_tokens), sep="\n")
    print(f"number format: {number_format}\n$ {shlex.join(command)}", flush=True)
    facts = {
        "asked": shlex.join(sys.argv),
        "command": shlex.join(command),
        "batch": {**plan._asdict(), "recipe_tokens": settings.batch_tokens},
        "precision": number_format,
        **surroundings.commit(files.REPOSITORY),
        "hardware": hardware,
        "packages": surroundings.packages(),
    }
    return command, facts


def train(args, settings, lock):
    """Go on with the training until it is finished; the exit status."""
    same = identity(args, settings)
    run_record.check_same(args.save_dir, **same)
    done = resume.mend(args.save_dir) if first_node() else resume.updates_done(args.save_dir)
    if done >= args.max_update or run_record.finished(args.save_dir, args.max_update):
        print(f"{args.model}: finished, {done:,} updates are in {args.save_dir}; --max-update N trains on.")
        return 0
    print(f"{args.model}: {'from update ' + format(done, ',') if done else 'from the start'}, into {args.save_dir}")
    command, facts = prepare(args, settings)
    if not first_node():
        return subprocess.run(command).returncode

    run_record.begin(args.save_dir, same, updates_before=done, max_update=args.max_update, **facts)
    status = "interrupted"
    try:
        code = run(command, args.save_dir / "train.log", lock, args.model, args.max_update)
        status = "failed" if code else "finished"
    finally:
        run_record.end(args.save_dir, status, resume.mend(args.save_dir))
    if code:
        print(f"train: {args.model} failed; see the end of {args.save_dir / 'train.log'}.", file=sys.stderr)
    return 1 if code else 0


def main():
    """Run the command line."""
    args = parse_args(sys.argv[1:])
    recipe_models.model_words(args.model, args.recipe.name)
    args.data = (args.data or recipe_settings.data_folder(args.recipe.name)).resolve()
    settings = recipe_settings.read(args.recipe / "train.yaml", args.data)
    complete(args, settings)
    check_data(args, settings.languages)
    # So that an end by Ctrl-C, `kill` or a cluster ends fairseq and is recorded.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit("train: ended by a signal; the same command goes on."))
    with environment_kept(), locked(args.save_dir) if first_node() else contextlib.nullcontext() as lock:
        return train(args, settings, lock)


if __name__ == "__main__":
    sys.exit(main())
