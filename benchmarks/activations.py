"""Peak memory of training by virtual depth, with and without --checkpoint-activations, beside fairseq's transformer."""

import argparse
from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from benchmarks import memory, models
from benchmarks.report import Report, draw_lines, number
from benchmarks.train import max_tokens

BLOCKS = 3
CHECKPOINTS = "sret_transformer, --checkpoint-activations"
PART = "beyond the weights"
NOTES = [
    f"Virtual depth: encoder and decoder together. sret_transformer: {BLOCKS} blocks a side in one loop, no NLL, "
    "--depth-scaled-residuals, so that depth adds no parameters. fairseq's transformer: as many layers, pre-norm, "
    "nothing shared.",
    f"MiB, the peak of {memory.UPDATES} updates of fairseq's Trainer on the same batch, beyond the model as built: "
    "activations, gradients and Adam's state. Measured once. Empty: does not fit.",
]


def systems(depth: int) -> Dict[str, str]:
    """The options of the models of one virtual depth, by name."""
    layers = depth // 2
    ours = f"{models.NO_NLL} --depth-scaled-residuals --encoder-slices 2"
    theirs = "--arch transformer"
    for side in ("encoder", "decoder"):
        ours += f" --{side}-layers {BLOCKS} --{side}-recursion-span {BLOCKS} --{side}-recursions {layers // BLOCKS}"
        theirs += f" --{side}-layers {layers} --{side}-normalize-before"
    return {
        "sret_transformer": ours,
        CHECKPOINTS: f"{ours} --checkpoint-activations",
        "fairseq's transformer": theirs,
    }


def peak(size: str, words: str, settings: argparse.Namespace) -> Optional[float]:
    """MiB, or None for what does not fit."""
    try:
        sample = memory.measure(size, words, "label_smoothed_cross_entropy", settings)
    except memory.DoesNotFitError:
        return None
    return sample[PART] / 2**20


def growth(points: List[Tuple[float, float]]) -> float:
    """p in ``a + b * depth ** p`` through the last three points, between 0 and 2: a is what no depth changes."""
    (first, second, third), (least, middle, most) = np.array(points[-3:]).T
    powers = np.linspace(0.01, 2, 200)
    ratios = (third**powers - second**powers) / (second**powers - first**powers)
    return float(np.interp((most - middle) / (middle - least), ratios, powers))


def run(settings: argparse.Namespace) -> Report:
    """All sizes, depths and systems."""
    depths = (12, 36) if settings.quick else (12, 36, 108, 324, 1008)
    names = list(systems(depths[0]))
    rows, curves = [], {}
    table = [["", "virtual depth", *names]]
    for size in settings.sizes:
        for depth in depths:
            peaks = {name: peak(size, words, settings) for name, words in systems(depth).items()}
            rows.append({"size": size, "depth": depth, "tokens": max_tokens(settings), "mebibytes": peaks})
            table.append([size, str(depth), *("" if mib is None else number(mib) for mib in peaks.values())])
            for name, mib in peaks.items():
                if mib is not None:
                    curves.setdefault(f"{size}, {name}", []).append((depth, mib))
    fits = [
        f"{name}: grows with the depth to the power of {growth(points):.2f}, by its last three points"
        for name, points in curves.items()
        if len(points) > 2
    ]
    return Report(rows, table, [*NOTES, *fits], lambda axes: draw(axes, curves))


def draw(axes: Any, curves: Dict[str, List[Tuple[float, float]]]) -> None:
    """The memory over the depth, both on logarithmic scales."""
    draw_lines(axes, curves, "virtual depth", "MiB")
    axes.set(xscale="log", yscale="log")
