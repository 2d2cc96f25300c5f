"""cuDNN's attention on a GPU, which torch prefers there: how fast with and without, and what a new shape costs."""

import argparse
from typing import Callable, Dict, List, Sequence, Tuple

import torch

from benchmarks import decode, devices, kernels, models
from benchmarks.batches import sources, training_batches
from benchmarks.comparison import SECONDS, Comparison
from benchmarks.report import Report, comparisons_report
from benchmarks.train import max_tokens

SHAPES = 3
NOTES = [
    "sret_transformer, defaults. A: with cuDNN's attention, as torch has it; B: without, as sret_fairseq has it.",
    f"Each of {SHAPES} batches, none of the shape of another, once: new shapes; and again: known shapes. B is measured "
    "first, so that what it made ready does not count for A's new shapes. An update of fairseq's Trainer, and a "
    "translation (beam 5) of some 60 sentences, whose every step has a shape of its own.",
    "On a CPU the setting changes nothing.",
]
Runs = List[Callable[[], object]]


def updates(size: str, settings: argparse.Namespace) -> Runs:
    """An update for each of several batches of unlike shapes."""
    trainer = models.build(size, models.B, settings.device).trainer()
    batches = training_batches(max_tokens(settings), count=SHAPES + 1)
    return [lambda batch=batch: trainer.train_step([batch], raise_oom=True) for batch in batches]


def translations(size: str, settings: argparse.Namespace) -> Runs:
    """A translation of each of several batches of unlike shapes."""
    system, length = models.build(size, models.B, settings.device), 4 if settings.quick else 25
    counts = range(2, SHAPES + 3) if settings.quick else range(58, SHAPES + 59)
    batches = [sources(count, settings.device, length=count // 2 + 2) for count in counts]
    return [decode.Translator(system, [batch], length).translate for batch in batches]


def times(runs: Sequence[Callable[[], object]], device: str) -> Tuple[List[float], List[float]]:
    """The seconds of each call for the first time and again; the first one of all warms up and is left out."""
    runs[0]()
    first, again = ([devices.seconds(run, device) for run in runs[1:]] for _ in range(2))
    return first, again


def measure(size: str, make: Callable[[str, argparse.Namespace], Runs], settings: argparse.Namespace) -> Dict:
    """Seconds for new and for known shapes, and the kernels that attended, by whether cuDNN's are allowed."""
    found = {}
    for allowed in (False, True):
        torch.backends.cuda.enable_cudnn_sdp(allowed)
        runs = make(size, settings)
        found[allowed] = (*times(runs, settings.device), {})
        if settings.device == "cuda":
            found[allowed][2].update(kernels.activity(runs[1]).record())
    return found


def run(settings: argparse.Namespace) -> Report:
    """Updates and translations of each size."""
    comparisons = []
    for size in settings.sizes:
        for operation, make in (("update", updates), ("translation", translations)):
            found = measure(size, make, settings)
            for index, shapes in enumerate(("new", "known")):
                samples = (found[allowed][index] for allowed in (True, False))
                facts = {"gpu": [found[allowed][2] for allowed in (True, False)]} if settings.device == "cuda" else {}
                comparisons.append(Comparison(f"{size}, {operation}, {shapes} shapes", SECONDS, *samples, facts=facts))
    return comparisons_report(comparisons, NOTES)
