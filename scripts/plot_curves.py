"""Draw the learning curves of one or several trainings: BLEU, training loss and validation loss against updates.

A LOG is what fairseq-train prints, or the file of its --log-file, with --log-format json, simple or tqdm (none has no
reports); a resumed training may have continued it. Writes curves.png, one panel for each quantity, and curves.csv, with
the columns run, quantity, updates and value, into the folder --out. BLEU is that of --eval-bleu on the validation set;
a panel that no log has points for is left out.

Logs to which --names gives one name are trainings of one system with several seeds: drawn are their mean and a band
from the least to the greatest value, at the updates that all of them have.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from common import arguments, command, output, training_log
from common.words import counted

QUANTITIES = {"bleu": "BLEU", "train": "training loss", "valid": "validation loss"}
Runs = dict[str, list[dict[str, training_log.Points]]]  # those of each system, by its name


def read(logs: Sequence[Path], names: Sequence[str]) -> Runs:
    """Return ``training_log.curves`` of each log under its name, or exit with one sentence."""
    if len(names) != len(logs):
        raise SystemExit(f"--names: {counted(len(names), 'name')} for {counted(len(logs), 'log')}; give each log one.")
    if not all(name.strip() for name in names):
        raise SystemExit("--names: a name is empty; give each log one.")
    if len({log.resolve() for log in logs}) < len(logs):
        raise SystemExit("A log is named twice; name each log once.")
    runs: Runs = {}
    for log, name in zip(logs, names, strict=True):
        points = training_log.curves(log)
        runs.setdefault(name, []).append(points)
        if not any(points.values()):
            raise SystemExit(
                f"{log} holds no reports of fairseq-train on --log-interval updates or a validation, as --log-format "
                f"json and simple write them; name the log of a training."
            )
        output.name_gaps(log, (value for of_quantity in points.values() for _, value in of_quantity))
    return runs


def rows(runs: Runs) -> list[tuple[str, str, int, float]]:
    """Return the rows of curves.csv."""
    return [
        (name, title, updates, value)
        for name, of_system in runs.items()
        for points in of_system
        for quantity, title in QUANTITIES.items()
        for updates, value in points[quantity]
    ]


def parse_args() -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("logs", type=arguments.path, nargs="+", metavar="LOG", help="log of one training")
    parser.add_argument("--names", nargs="+", metavar="NAME", help="what to call them (default: the paths)")
    parser.add_argument("--out", type=arguments.path, required=True, help="folder to write")
    return parser.parse_args()


def main() -> None:
    """Run the command line."""
    args = parse_args()
    runs = read(args.logs, args.names or list(map(str, args.logs)))
    panels = [(quantity,) for quantity in QUANTITIES if any(output.across(runs[name], quantity) for name in runs)]
    if not panels:
        raise SystemExit("The logs of one name share no update of a report; train its seeds with the same intervals.")
    output.picture_folder(args.out)
    output.write_csv(args.out / "curves.csv", ("run", "quantity", "updates", "value"), rows(runs))
    output.draw_curves(runs, panels, args.out / "curves.png")
    print(f"Learning curves: {args.out / 'curves.png'}\nAll points: {args.out / 'curves.csv'}")


if __name__ == "__main__":
    command.run(main)
