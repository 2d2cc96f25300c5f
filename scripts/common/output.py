"""Pictures, CSV files and tables that scripts make of their numbers.

matplotlib is imported where a picture is drawn, so that --help and whatever draws none do without it.
"""

import csv
import importlib.util
import io
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import files

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOSS = "negative log-likelihood (bits a token)"
AXES = {"bleu": ("BLEU", "Validation BLEU"), "train": (LOSS, "Training loss"), "valid": (LOSS, "Validation loss")}


def check_matplotlib() -> None:
    """Exit with one sentence if matplotlib is not installed."""
    if importlib.util.find_spec("matplotlib") is None:
        raise SystemExit("matplotlib is not installed: pip install '.[plot]'")


def picture_folder(path: Path) -> None:
    """Make the folder for results with a picture among them, as files.output_folder does, if one can be drawn."""
    check_matplotlib()
    files.output_folder(path)


def new_figure(**options: Any) -> "Figure":
    """Return an empty figure of matplotlib, which needs no window; ``options`` are its own."""
    check_matplotlib()
    from matplotlib.figure import Figure

    return Figure(**options)


def plain(text: str) -> str:
    """Return a label that shows ``text`` as it is: what stands between two dollar signs would be taken for TeX."""
    return text.replace("$", r"\$")


def save_figure(figure: "Figure", path: Path) -> None:
    """Write a figure as PNG with ``files.atomic``."""
    with files.atomic(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150, bbox_inches="tight")


def name_gaps(path: Path, values: Iterable[float]) -> None:
    """Say it if a picture will lack some of the values of a file, since they are no numbers."""
    if not all(map(math.isfinite, values)):
        print(f"{path} holds NaN or infinity: the training diverged; the picture has gaps there.", flush=True)


Curves = Mapping[str, Sequence[Sequence[float]]]  # points by quantity, as training_log.curves returns them


def across(runs: Sequence[Curves], quantity: str) -> list[tuple[float, float, float, float]]:
    """Return updates, mean, least and greatest value of a quantity wherever each of the runs has a value."""
    values = [dict(points[quantity]) for points in runs if points[quantity]]
    shared = sorted(set.intersection(*map(set, values))) if values else []
    found = [(updates, [of_run[updates] for of_run in values]) for updates in shared]
    return [(updates, statistics.fmean(at), min(at), max(at)) for updates, at in found]


def draw_curves(runs: Mapping[str, Sequence[Curves]], panels: Sequence[Sequence[str]], path: Path) -> None:
    """Write a picture of learning curves: BLEU, training loss and validation loss against updates.

    Several runs of a system are drawn as their mean, in a band from the least to the greatest value.

    Args:
        runs: those of each system, by its name.
        panels: the quantities of each panel, side by side.
        path: of the PNG.
    """
    figure = new_figure(figsize=(8 * len(panels), 5))
    row = figure.subplots(1, len(panels), squeeze=False)
    for axes, quantities in zip(row[0], panels, strict=True):
        alone = len(quantities) == 1
        for index, (name, of_system) in enumerate(runs.items()):
            for quantity in quantities:
                points = across(of_system, quantity)
                if not points:
                    continue
                updates, means, least, greatest = zip(*points, strict=True)
                train_style = {"alpha": 1 if alone else 0.4, "linewidth": 1}
                style = train_style if quantity == "train" else {"marker": "o", "markersize": 3}
                label = plain(name if alone else f"{name}, {quantity}")
                axes.plot(updates, means, color=f"C{index}", label=label, **style)
                if len(of_system) > 1:
                    axes.fill_between(updates, least, greatest, color=f"C{index}", alpha=0.2, linewidth=0)
        ylabel, title = AXES[quantities[0]]
        axes.set(xlabel="updates", ylabel=ylabel, title=title if alone else "Learning curves")
        axes.grid(alpha=0.3)
        axes.legend(handles=axes.get_lines())  # all of them, also those whose names begin with _
    save_figure(figure, path)


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a heading and rows of numbers or words as CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    files.write_text(path, text.getvalue())


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown from rows of cells, the heading first; the first column to the left, the others right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append(f"| {' | '.join(cells)} |")
    rule = ["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])]
    return "\n".join([lines[0], f"|{'|'.join(rule)}|", *lines[1:]])
