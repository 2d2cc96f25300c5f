"""Cost by the number of passes, and how far it is from a straight line."""

import argparse
import statistics
from typing import Callable, Dict, List

import numpy as np
import torch
from torch import nn

from benchmarks import devices, models
from benchmarks.batches import sources
from benchmarks.comparison import alternate
from benchmarks.encoding import encoder_runs
from benchmarks.report import Report, draw_lines

NOTES = [
    "sret_transformer, 3 blocks a side, no NLL, unsliced; passes of the encoder for its rows, of the decoder for the "
    "decoder's.",
    "All depths are measured in turn. The line is fitted to the medians; residual: what is above or below it.",
]


def decoder_steps(model: nn.Module, batch: dict, steps: int) -> Callable[[], None]:
    """A function that decodes so many tokens one by one, with the caches but without a search."""
    rows = batch["src_tokens"].size(0)
    tokens = batch["src_tokens"].new_full((rows, steps), models.dictionary().eos())
    with torch.no_grad():
        encoded = model.eval().encoder(batch["src_tokens"], src_lengths=batch["src_lengths"])

    @torch.no_grad()
    def run() -> None:
        model.eval()
        state = {}
        for length in range(1, steps + 1):
            model.decoder(tokens[:, :length], encoder_out=encoded, incremental_state=state)

    return run


def model_of(size: str, passes: int, device: str) -> nn.Module:
    """A model with so many passes a side."""
    words = f"{models.UNSLICED} --encoder-recursions {passes} --decoder-recursions {passes}"
    return models.build(size, words, device).on_device()


def fit(passes: List[int], costs: List[float]) -> dict:
    """The straight line nearest to the costs, and its largest residual as a share of the line's value there."""
    slope, offset = np.polyfit(passes, costs, deg=1)
    line = slope * np.array(passes) + offset
    return {
        "slope": float(slope),
        "offset": float(offset),
        "line": line.tolist(),
        "largest_residual": float(np.max(np.abs(np.array(costs) - line) / line)),
    }


def run(settings: argparse.Namespace) -> Report:
    """All sizes and operations, over the numbers of passes."""
    depths = (1, 2, 4) if settings.quick else (1, 2, 3, 4, 6, 8, 12, 16)
    steps = 4 if settings.quick else 20
    rows, curves = [], {}
    table = [["", "passes", "median ms", "line ms", "residual"]]
    for size in settings.sizes:
        built = {passes: model_of(size, passes, settings.device) for passes in depths}
        batch = sources(4 if settings.quick else 32, settings.device, length=32)
        runs: Dict[str, Dict[int, Callable[[], None]]] = {}
        for passes, model in built.items():
            named = encoder_runs(model, batch)
            named[f"{steps} decoder steps"] = decoder_steps(model, batch, steps)
            for operation, function in named.items():
                runs.setdefault(operation, {})[passes] = function
        for operation, by_depth in runs.items():
            name = f"{size}, {operation}"
            samples = milliseconds(name, by_depth, settings)
            medians = [statistics.median(samples[passes]) for passes in depths]
            fitted = fit(list(depths), medians)
            rows.append({"name": name, "passes": depths, "milliseconds": samples, "medians": medians, **fitted})
            curves[name] = list(zip(depths, medians))
            curves[f"{name}, line"] = list(zip(depths, fitted["line"]))
            for passes, cost, line in zip(depths, medians, fitted["line"]):
                table.append([name, str(passes), f"{cost:.2f}", f"{line:.2f}", f"{cost / line - 1:+.1%}"])
    fits = [
        f"{row['name']}: {row['offset']:.2f} + {row['slope']:.2f} x passes ms, largest residual "
        f"{row['largest_residual']:.1%}"
        for row in rows
    ]
    return Report(rows, table, [*NOTES, *fits], lambda axes: draw_lines(axes, curves, "passes", "ms"))


def milliseconds(
    name: str, runs: Dict[int, Callable[[], None]], settings: argparse.Namespace
) -> Dict[int, List[float]]:
    """Samples of every depth, measured in turn."""
    calls = {passes: devices.calls_for(run, settings) for passes, run in runs.items()}

    def measure(passes: int) -> float:
        def all_calls() -> None:
            for _ in range(calls[passes]):
                runs[passes]()

        return 1000 * devices.seconds(all_calls, settings.device) / calls[passes]

    return alternate({passes: lambda passes=passes: measure(passes) for passes in runs}, settings.pairs, name)
