"""What the plotting scripts share: pictures and CSV files that appear whole or not at all.

matplotlib is imported where a picture is drawn, so that --help and whatever draws none do without it.
"""

import csv
import importlib.util
import io

from common import files


def check_matplotlib():
    """Exit with one sentence if matplotlib is not installed."""
    if importlib.util.find_spec("matplotlib") is None:
        raise SystemExit("matplotlib is not installed: pip install '.[plot]'")


def output_folder(path):
    """Make the folder for results with a picture among them, as files.output_folder does, if one can be drawn."""
    check_matplotlib()
    files.output_folder(path)


def new(**options):
    """Return an empty figure of matplotlib, which needs no window; ``options`` are its own."""
    check_matplotlib()
    from matplotlib.figure import Figure

    return Figure(**options)


def plain(text):
    """Return a label that shows ``text`` as it is: what stands between two dollar signs would be taken for TeX."""
    return text.replace("$", r"\$")


def save(figure, path):
    """Write a figure as PNG with ``files.whole``."""
    with files.whole(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150, bbox_inches="tight")


def write_csv(path, header, rows):
    """Write a heading and rows of numbers or words as CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    files.write_text(path, text.getvalue())
