"""Average, translate and score runs of a recipe: one table, one JSON file.

Each system is the average of its last checkpoints. Each kind of score has rows of its own, with what has to be quoted
with it below the table: numbers of different kinds do not compare. With two systems or more, each is compared with the
one of --against by paired bootstrap resampling. Translations that an earlier call made from the same checkpoints are
kept.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from common import arguments, command, files, provenance
from recipe import record, settings


def find_runs(names: Sequence[str], runs: Path) -> list[Path]:
    """The folders of the runs that were asked for, or of all."""
    found = [runs / name if (runs / name).is_dir() else Path(name) for name in names]
    if not names:
        found = sorted(path.parent for path in runs.glob("*/checkpoint_last.pt"))
        if not found:
            raise SystemExit(f"evaluate: {runs} has no run with a checkpoint; train one, or name its folder.")
    for folder, name in zip(found, names):
        if not (folder / "checkpoint_last.pt").is_file():
            raise SystemExit(f"evaluate: '{name}' is neither a run under {runs} nor a folder with checkpoint_last.pt.")
    found = [folder.resolve() for folder in found]
    if len({folder.name for folder in found}) < len(found):
        raise SystemExit("evaluate: two runs have the same name; rename the folder of one.")
    return found


def parse_args(argv: Sequence[str]) -> argparse.Namespace:
    """The command line's options; ``generate_args`` go to fairseq-generate."""
    split = argv.index("--") if "--" in argv else len(argv)
    parser = argparse.ArgumentParser(
        prog="evaluate.sh",
        usage="bash evaluate.sh [MODEL or FOLDER]... [OPTIONS] [-- OPTIONS OF FAIRSEQ-GENERATE]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    # fmt: off
    parser.add_argument("--recipe", type=arguments.path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--generate", default="", help=argparse.SUPPRESS)
    parser.add_argument("--sacrebleu-set", help=argparse.SUPPRESS)
    parser.add_argument("--compound-split", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("runs", nargs="*", metavar="MODEL or FOLDER",
                        help="a run under $RUNS or runs/RECIPE, or its folder (default: all that have a checkpoint)")
    parser.add_argument("--last", type=int, default=10, metavar="N",
                        help="average the last N checkpoints, or as many as there are (default: 10)")
    parser.add_argument("--against", metavar="NAME", help="the run that others are compared with (default: the first)")
    parser.add_argument("--data", type=arguments.path, metavar="DIR",
                        help="the folder that prepare.sh made (default: $DATA or data/RECIPE)")
    parser.add_argument("--out", type=arguments.path, metavar="DIR",
                        help="folder of results.json, table.txt, translations (default: evaluation beside the runs)")
    # fmt: on
    args = parser.parse_intermixed_args(argv[:split])
    if args.last < 1:
        parser.error(f"--last {args.last} must be at least 1.")
    name = args.recipe.name
    runs = settings.runs_folder(name)
    args.data = (args.data or settings.data_folder(name)).resolve()
    args.out = (args.out or runs / "evaluation").resolve()
    args.runs = find_runs(args.runs, runs)
    args.generate_args = [*args.generate.split(), *argv[split + 1 :]]
    names = [folder.name for folder in args.runs]
    args.against = args.against or names[0]
    if args.against not in names:
        parser.error(f"--against {args.against}: no such run among {', '.join(names)}.")
    return args


def main() -> None:
    """Run the command line."""
    args = parse_args(sys.argv[1:])
    from common import scores
    from recipe import measure  # here, since --help does without what it needs

    scores.check_sacremoses()
    languages = settings.read(args.recipe / "train.yaml", args.data).languages
    sets = measure.read_sets(args.data, languages, args.sacrebleu_set)
    systems, translations = {}, {}
    for folder in args.runs:
        print(f"== {folder.name}", flush=True)
        systems[folder.name], translations[folder.name] = measure.measure(folder, args, sets, languages)
    baseline = (args.against, translations.pop(args.against))
    references = sets["test"]["reference"]
    others = list(translations.items())
    comparisons = scores.bootstrap(baseline, others, references, languages[1]) if others else []

    prepared = args.data / "prepare.json"
    results = {
        "recipe": args.recipe.name,
        "date": record.now(),
        "command": shlex.join(sys.argv),
        "generate": args.generate_args,
        "corpus": files.read_json(prepared) if prepared.exists() else None,
        "references": {split: {"lines": len(texts["source"]), "from": texts["from"]} for split, texts in sets.items()},
        "systems": systems,
        "comparisons": comparisons,
        "hardware": provenance.hardware_asked(),
        "packages": provenance.packages(),
        **provenance.commit(files.REPOSITORY),
    }
    text = measure.report(systems, sets, comparisons)
    files.write_json(args.out / "results.json", results)
    files.write_text(args.out / "table.txt", f"{text}\n")
    print(f"\n{text}\n\nAll numbers: {args.out / 'results.json'}")


if __name__ == "__main__":
    command.run(main)
