"""What the plotting scripts share: pictures and CSV files that appear whole or not at all."""

import contextlib
import csv
import io
import os

import files
import matplotlib

matplotlib.use("Agg")  # a file, not a window
import matplotlib.pyplot as plt


def save(figure, path):
    """Write a matplotlib figure as PNG under a temporary name, rename it, and close the figure."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(temporary, format="png", dpi=150, bbox_inches="tight")
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise SystemExit(f"{path} cannot be written: {error.strerror}.") from error
    finally:
        plt.close(figure)


def write_csv(path, header, rows):
    """Write a heading and rows of numbers or words as CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    files.write_text(path, text.getvalue())
