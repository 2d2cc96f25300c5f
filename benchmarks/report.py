"""What a benchmark leaves: a table, a JSON file with every sample, and a picture."""

import argparse
import datetime
import os
import shlex
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

import torch

from benchmarks import devices
from benchmarks.comparison import Comparison
from benchmarks.options import REPOSITORY
from common import files, output, provenance


@dataclass
class Report:
    """Attributes:
    rows: for the JSON.
    table: rows of cells, the heading first.
    notes: what was measured, in sentences.
    draw: draws the picture on matplotlib's axes.
    """

    rows: List[dict]
    table: List[List[str]]
    notes: List[str]
    draw: Callable


def comparisons_report(comparisons: List[Comparison], notes: List[str]) -> Report:
    """The report of a benchmark that compares A and B."""
    heading = ["", "A", "B", "unit", "ratio", "min..max", "goal", ""]
    extra = {
        "FLOP B/A": lambda row: f"{row.flops[1] / row.flops[0]:.2f}" if row.flops else "",
        "utilisation A, B": lambda row: ", ".join(f"{part:.1%}" for part in row.utilisation or ()),
        "kernels A, B": lambda row: both(row, lambda gpu: f"{gpu['kernels']:,.0f}"),
        "busy ms A, B": lambda row: both(row, lambda gpu: f"{1000 * gpu['busy_seconds']:.1f}"),
        "beyond the models, MiB A, B": lambda row: both(row, lambda gpu: f"{gpu['peak_bytes'] / 2**20:,.0f}"),
    }
    columns = [name for name, cell in extra.items() if any(map(cell, comparisons))]
    table = [heading + columns]
    for row in comparisons:
        cells = [row.name, number(statistics.median(row.a)), number(statistics.median(row.b)), row.unit]
        cells += [f"{row.ratio:.2f}", f"{min(row.ratios):.2f}..{max(row.ratios):.2f}"]
        cells += [str(row.goal), row.goal.verdict(row.ratio)] if row.goal else ["", ""]
        table.append(cells + [extra[name](row) for name in columns])
    rule = "Medians of the samples; ratio: median, least and greatest of the pairs' B / A, of seconds A / B."
    records = [row.record() for row in comparisons]
    return Report(records, table, [*notes, rule], lambda axes: draw_bars(axes, comparisons))


def both(row: Comparison, cell: Callable[[dict], str]) -> str:
    """A number of a GPU's activity for A and for B, where it was recorded."""
    return ", ".join(map(cell, row.facts.get("gpu", ())))


def number(value: float) -> str:
    """Four digits or so."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def draw_bars(axes: Any, comparisons: List[Comparison]) -> None:
    """A bar for each ratio with its range, and a mark at its goal."""
    axes.figure.set_size_inches(9, 1.5 + 0.3 * len(comparisons))
    places = range(len(comparisons))
    below = [row.ratio - min(row.ratios) for row in comparisons]
    above = [max(row.ratios) - row.ratio for row in comparisons]
    axes.barh(places, [row.ratio for row in comparisons], xerr=[below, above], color="C0", alpha=0.7, capsize=2)
    goals = [(row.goal.bound, place) for place, row in enumerate(comparisons) if row.goal]
    if goals:
        axes.plot(*zip(*goals), "|", color="C3", markersize=14, markeredgewidth=2, label="goal")
        axes.legend()
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_yticks(places, [row.name for row in comparisons])
    axes.invert_yaxis()
    axes.set_xlabel("ratio B / A (of seconds A / B)")


def draw_lines(axes: Any, curves: Dict[str, List[Tuple[float, float]]], x_label: str, y_label: str) -> None:
    """Curves by name; those named ``..., line`` are fits and stay without marks."""
    for name, points in curves.items():
        axes.plot(*zip(*points), "--" if name.endswith(", line") else "o-", markersize=3, label=name)
    axes.set(xlabel=x_label, ylabel=y_label)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)


def write(report: Report, settings: argparse.Namespace) -> None:
    """Print the table; write JSON and picture, each whole or not at all."""
    quick = "-quick" if settings.quick else ""
    stem = settings.out / f"{settings.benchmark}-{settings.device}{quick}"
    notes = report.notes + (["--quick: this shows that all works, not how fast."] if settings.quick else [])
    left_out = getattr(settings, "left_out", [])
    notes += [f"Left out for --limit {settings.limit}: {'; '.join(left_out)}."] if left_out else []
    print(output.markdown(report.table), *(f"- {note}" for note in notes), sep="\n")
    files.write_json(Path(f"{stem}.json"), {**circumstances(settings), "notes": notes, "rows": report.rows})
    write_picture(report, Path(f"{stem}.png"), f"{settings.benchmark}, {settings.device}{quick}")
    print(f"Written: {stem}.json and {stem}.png")


def write_picture(report: Report, path: Path, title: str) -> None:
    """Draw a report's picture, whole or not at all."""
    figure = output.new_figure(figsize=(8, 5))
    axes = figure.subplots()
    report.draw(axes)
    axes.set_title(title)
    output.save_figure(figure, path)


def circumstances(settings: argparse.Namespace) -> dict:
    """What the numbers depend on: command, date, code, versions, machine and settings."""
    machine = provenance.hardware()
    del machine["host"]
    return {
        "benchmark": settings.benchmark,
        "command": f"bash benchmarks/run.sh {shlex.join(settings.words)}",
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        **provenance.commit(REPOSITORY),
        "machine": {**machine, "processor": processor()},
        "threads": torch.get_num_threads(),
        "seconds": "of the processor" if torch.get_num_threads() == 1 and settings.device == "cpu" else "of the clock",
        "precision": str(devices.dtype(settings.device)).removeprefix("torch."),
        "matrix_product_flops_per_second": devices.matrix_product_rate() if settings.device == "cuda" else None,
        "environment": {name: value for name, value in os.environ.items() if name.startswith(("MALLOC_", "OMP_"))},
        "versions": provenance.packages(),
    }


def processor() -> str:
    """The name of the CPU as the kernel knows it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
