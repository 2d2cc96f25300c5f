"""Training tokens/s: forward, loss, backward, clipping and Adam, as fairseq's Trainer runs an update."""

import argparse
from typing import Callable, Dict, List, Tuple

from benchmarks import devices, models
from benchmarks.batches import training_batches
from benchmarks.comparison import Goal
from benchmarks.options import chosen
from benchmarks.report import Report, comparisons_report
from benchmarks.time_limit import within

PLAIN = "label_smoothed_cross_entropy"
NOTES = [
    "A: fairseq's transformer, 6+6 layers, pre-norm. B: sret_transformer, 3 blocks x 2 passes a side, same width.",
    "Updates of fairseq's Trainer on the same batches: label smoothing 0.1, dropout 0.1, clipping, Adam; vocabulary "
    "10,000, all embeddings shared. A token is one of the target. A has fairseq's own criterion and adam.",
    devices.COUNTED,
]


def max_tokens(settings: argparse.Namespace) -> int:
    """Tokens of a batch, padding included."""
    return 256 if settings.quick else 25_600 if settings.device == "cuda" else 1024


def goal(variant: str, device: str) -> Goal:
    """What the ratio of a variant should be."""
    return (
        Goal(1.0 if device == "cuda" else 0.95)
        if variant.startswith(("defaults", "NLL"))
        else Goal(1.3 if device == "cuda" else 1.05)
    )


def trainings() -> Dict[str, Tuple[str, str]]:
    """Options and criterion of B, by the name that the table gives it."""
    named = {}
    for variant, words in models.VARIANTS.items():
        named[variant] = words, PLAIN
        named[f"{variant}, chunked loss"] = words, models.CHUNKED
        named[f"{variant}, fused_adam"] = f"{words} --optimizer fused_adam", PLAIN
    return named


def updates(system: models.System, batches: List[dict]) -> Callable[[], None]:
    """A function that trains one update on each batch."""
    trainer = system.trainer()

    def run() -> None:
        for batch in batches:
            trainer.train_step([batch], raise_oom=True)  # fairseq would leave the update out

    return run


def run(settings: argparse.Namespace) -> Report:
    """Every variant of B against A."""
    batches = training_batches(max_tokens(settings), count=2 if settings.quick else 3)
    tokens = sum(batch["ntokens"] for batch in batches)
    comparisons = []
    for size in settings.sizes:
        for name, (words, criterion) in within(settings, size, chosen(trainings(), settings)):
            systems = (
                models.build(size, models.A, settings.device),
                models.build(size, words, settings.device, criterion),
            )
            a, b = (updates(system, batches) for system in systems)
            wanted = goal(name, settings.device)
            comparisons.append(
                devices.compare(f"{size}, {name}", (a, b), tokens, "tokens/s", settings, wanted, steps=len(batches))
            )
    return comparisons_report(comparisons, NOTES)
