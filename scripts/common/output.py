"""Pictures, CSV files and tables that scripts make of their numbers.

matplotlib is imported where a picture is drawn, so that --help and whatever draws none do without it.
"""

import csv
import importlib.util
import io
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


def draw_curves(
    runs: Mapping[str, Mapping[str, Sequence[Sequence[float]]]], panels: Sequence[Sequence[str]], path: Path
) -> None:
    """Write a picture of learning curves: BLEU, training loss and validation loss against updates.

    Args:
        runs: ``{name: {quantity: points}}`` with what training_log.curves returns of each training.
        panels: the quantities of each panel, side by side.
        path: of the PNG.
    """
    figure = new_figure(figsize=(8 * len(panels), 5))
    row = figure.subplots(1, len(panels), squeeze=False)
    for axes, quantities in zip(row[0], panels, strict=True):
        alone = len(quantities) == 1
        for index, (name, points) in enumerate(runs.items()):
            for quantity in quantities:
                train_style = {"alpha": 1 if alone else 0.4, "linewidth": 1}
                style = train_style if quantity == "train" else {"marker": "o", "markersize": 3}
                label = plain(name if alone else f"{name}, {quantity}")
                axes.plot(*zip(*points[quantity], strict=True), color=f"C{index}", label=label, **style)
        ylabel, title = AXES[quantities[0]]
        axes.set(xlabel="updates", ylabel=ylabel, title=title if alone else "Learning curves")
        axes.grid(alpha=0.3)
        axes.legend()
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
