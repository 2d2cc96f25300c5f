"""The encoder's forward pass and training step by source length: sliced against unsliced."""

import argparse
from typing import Any, Dict, List, Optional, Tuple

from benchmarks import devices, models
from benchmarks.batches import sources
from benchmarks.comparison import Goal
from benchmarks.encoding import encoder_runs
from benchmarks.report import Report, comparisons_report, draw_lines
from benchmarks.time_limit import within

SLICES = (2, 4, 8)
LENGTHS = {"cpu": tuple(32 * 2**power for power in range(8)), "cuda": (128, 512, 2048)}  # in a minute
NOTES = [
    "A: the encoder of sret_transformer (defaults, 3 blocks x 2 passes), unsliced. B: the same, every pass sliced.",
    "Sentences of one length, unpadded; as many as make up the same number of tokens, at least one. A training step is "
    "forward and backward.",
    devices.COUNTED,
]


def goal(length: int, slices: int) -> Optional[Goal]:
    """Never slower, and faster where the text is long."""
    return Goal(1.6) if (length, slices) == (2048, 4) else Goal(0.98)


def run(settings: argparse.Namespace) -> Report:
    """All lengths, slices and operations."""
    lengths = (32, 64) if settings.quick else LENGTHS[settings.device]
    tokens = 64 if settings.quick else 32_768 if settings.device == "cuda" else 1024
    comparisons, curves = [], {}
    for size in settings.sizes:
        for slices in SLICES:
            a, b = (
                models.build(size, f"{models.B} --encoder-slices {count}", settings.device).on_device()
                for count in (1, slices)
            )
            for length, _ in within(settings, size, dict.fromkeys(lengths)):
                sentences = max(1, tokens // length)
                batch = sources(sentences, settings.device, length)
                ours = encoder_runs(b, batch)
                for operation, unsliced in encoder_runs(a, batch).items():
                    comparison = devices.compare(
                        f"{size}, {operation}, {slices} slices, length {length}",
                        (unsliced, ours[operation]),
                        sentences * length,
                        "tokens/s",
                        settings,
                        goal(length, slices),
                        length=length,
                        slices=slices,
                    )
                    comparisons.append(comparison)
                    curves.setdefault(f"{size}, {operation}, {slices} slices", []).append((length, comparison.ratio))
    report = comparisons_report(comparisons, NOTES)
    report.draw = lambda axes: draw(axes, curves)
    return report


def draw(axes: Any, curves: Dict[str, List[Tuple[float, float]]]) -> None:
    """The ratios over the lengths, which double from one to the next."""
    draw_lines(axes, curves, "source length", "speed, sliced / unsliced")
    axes.set_xscale("log", base=2)
