"""Train and score models of a recipe with several seeds, and gather means and standard deviations.

The runs come one after the other, --jobs at a time, or one on each GPU of --gpus. Each is a call of the recipe's
train.sh, then of its evaluate.sh; both go on where they stopped, so the same command resumes a sweep. What they say is
in the folder of the table. A run that fails does not stop the others. Runs of other numbers of updates or tokens, which
an earlier call may have left, are not put into one table.

With --minutes all runs are side by side, and the trainings end in time, each after its current update and with a
checkpoint, to be averaged, translated with and scored.
"""

import argparse
import importlib.util
import re
import shlex
import signal
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from common import arguments, command, files
from recipe import models, schedule, seeds, settings
from recipe.schedule import Sweep
from recipe.seeds import Run


def listed(text: str) -> list[str]:
    """The words of a list with commas."""
    return [word.strip() for word in text.split(",") if word.strip()]


def table_lines(path: Path) -> list[str]:
    """The lines of a table, without a byte order mark."""
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SystemExit(f"sweep: {path} cannot be read as UTF-8: {error}.") from error


def read_table(path: Path) -> list[Run]:
    """The runs in a file of lines ``MODEL SEED [OPTIONS OF FAIRSEQ-TRAIN]``; # begins a comment."""
    runs = []
    for number, line in enumerate(table_lines(path), 1):
        try:
            words = shlex.split(re.sub(r"(^|\s)#.*", "", line))
        except ValueError as error:
            raise SystemExit(f"sweep: {path}, line {number}: {error}.") from error
        if len(words) == 1 or (len(words) > 2 and not words[2].startswith("--")):
            raise SystemExit(f"sweep: {path}, line {number}: '{line}' is not MODEL SEED [--OPTION ...].")
        if words:
            runs.append(Run(*words[:2], tuple(words[2:])))
    return runs


def check_runs(runs: Sequence[Run], recipe: str) -> None:
    """Exit with one sentence unless each run is of a model of the table, with a seed, and listed once."""
    for run in runs:
        models.model_args(run.model, recipe)
        if not (run.seed.isascii() and run.seed.isdigit() and int(run.seed)):
            raise SystemExit(f"sweep: the seed '{run.seed}' is not a whole number of at least 1.")
    if not runs:
        raise SystemExit("sweep: no run is listed; give --models and --seeds, or --table FILE.")
    named = [(run.name, int(run.seed)) for run in runs]
    for name, seed in named:
        if named.count((name, seed)) > 1:
            raise SystemExit(f"sweep: {name} is listed twice with the seed {seed}.")


def parse_args(argv: Sequence[str]) -> argparse.Namespace:
    """The command line's options; ``train_args`` go to train.sh."""
    split = argv.index("--") if "--" in argv else len(argv)
    parser = argparse.ArgumentParser(
        prog="sweep.py",
        usage="python scripts/sweep.py --recipe NAME (--models A,B --seeds 1,2 | --table FILE) [OPTIONS] "
        "[-- OPTIONS OF TRAIN.SH]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--recipe", required=True, choices=sorted(models.RECIPES), help="folder under examples/")
    parser.add_argument("--models", type=listed, default=[], metavar="A,B", help="models, see train.sh --list")
    parser.add_argument("--seeds", type=listed, metavar="1,2", help="seeds of each model (default: 1)")
    parser.add_argument(
        "--table", type=arguments.path, metavar="FILE", help="instead: a file of lines MODEL SEED [--OPTION ...]"
    )
    parser.add_argument(
        "--gpus",
        type=listed,
        default=[],
        metavar="0,1",
        help="one run at a time on each of these GPUs, of which one may be named several times; cpu trains without",
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="runs at a time, without --gpus (default: 1)")
    parser.add_argument(
        "--minutes", type=float, metavar="N", help="score what is trained so that all ends in N minutes"
    )
    parser.add_argument(
        "--scoring-minutes", type=float, metavar="N", help="of --minutes, for averaging and scoring (default: a fifth)"
    )
    parser.add_argument("--data", type=arguments.path, metavar="DIR", help="as for train.sh")
    parser.add_argument("--out", type=arguments.path, metavar="DIR", help="(default: sweep, in $RUNS or runs/RECIPE)")
    args = parser.parse_args(argv[:split])
    if args.table and (args.models or args.seeds is not None):
        parser.error("give --models and --seeds or --table, not both.")
    args.seeds = ["1"] if args.seeds is None else args.seeds
    if args.table and not args.table.is_file():
        parser.error(f"--table {args.table} is no file.")
    if args.jobs < 1:
        parser.error(f"--jobs {args.jobs} must be at least 1.")
    args.gpus = args.gpus or [None] * args.jobs
    check_minutes(args, parser)
    args.train_args = argv[split + 1 :]
    for word in args.train_args:
        if word.partition("=")[0] in ("--seed", "--save-dir", "--data"):
            parser.error(f"{word} behind -- would be that of every run; give --seeds, $RUNS or --data before it.")
    return args


def check_minutes(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Exit with one sentence unless the minutes leave some for training; fill in those for scoring."""
    if args.minutes is None:
        if args.scoring_minutes is not None:
            parser.error("--scoring-minutes is a part of --minutes; give both.")
        return
    if args.scoring_minutes is None:
        args.scoring_minutes = args.minutes / 5
    if not 0 < args.scoring_minutes < args.minutes < 10_000:
        parser.error(f"--minutes {args.minutes:g} must be more than the {args.scoring_minutes:g} for scoring, above 0.")


def main() -> int:
    """Run the command line; the exit status."""
    args = parse_args(sys.argv[1:])
    runs = read_table(args.table) if args.table else [Run(m, seed) for m in args.models for seed in args.seeds]
    check_runs(runs, args.recipe)
    if args.minutes and len(runs) > len(args.gpus):
        raise SystemExit(
            f"sweep: with --minutes all {len(runs)} runs are side by side, and there is room for {len(args.gpus)}; "
            f"name as many --gpus, one of them several times if need be."
        )
    if importlib.util.find_spec("fairseq") is None:
        raise SystemExit(command.missing("fairseq"))
    folder = settings.runs_folder(args.recipe).resolve()
    out = (args.out or folder / "sweep").resolve()
    files.output_folder(out)
    sweep = Sweep(args.recipe, folder, out, args.data and args.data.resolve(), args.train_args, args.gpus)
    with files.locked(out / ".lock", f"sweep: another sweep writes to {out}; let it finish, or name another --out."):
        return run_all(sweep, runs, args)


def run_all(sweep: Sweep, runs: Sequence[Run], args: argparse.Namespace) -> int:
    """Perform the runs and gather what they found; the exit status."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, sweep.end)

    timed = schedule.keep_time(sweep, args.minutes, args.scoring_minutes)
    with schedule.reports(sweep), timed, ThreadPoolExecutor(max_workers=len(args.gpus)) as pool:
        outcomes = dict(zip(runs, pool.map(sweep.perform, runs)))
    if sweep.late:
        print(f"sweep: not all was scored within --minutes {args.minutes:g}.", file=sys.stderr)
    elif sweep.ended:
        print("sweep: ended by a signal; the same command goes on.", file=sys.stderr)
        return 1
    failed = {f"{run.name} seed {run.seed}": script for run, script in outcomes.items() if script}
    done = [(run, sweep.folder(run)) for run in runs if not outcomes[run]]
    seeds.gather(done, failed, sweep.out, recipe=args.recipe, train=shlex.join(args.train_args), minutes=args.minutes)
    for name, script in failed.items():
        print(f"sweep: {name} failed in {script}; its log in {sweep.out} says why.", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    command.run(main)
