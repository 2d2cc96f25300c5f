"""torch.compile of the encoder's recursion groups, beside themselves as they are."""

import shutil
import time
from typing import Callable

import torch

from benchmarks import devices, models
from benchmarks.batches import sources
from benchmarks.encoding import operations
from benchmarks.report import Report, comparisons_report

LENGTH = 32
NOTES = [
    "A: the encoder of sret_transformer, 3 blocks x 2 passes. B: the same, each recursion group compiled by "
    "torch.compile (Inductor) for this one shape of batch.",
    f"Sentences of {LENGTH} tokens, unpadded. A training step is forward and backward. The first call of B compiles.",
]


def run(settings) -> Report:
    """All sizes, variants and operations."""
    if settings.device == "cpu" and not any(map(shutil.which, ("c++", "g++", "clang++"))):
        raise SystemExit("benchmarks: torch.compile on a CPU needs a C++ compiler; install g++.")
    sentences = 2 if settings.quick else 1024 if settings.device == "cuda" else 32
    batch = sources(sentences, settings.device, LENGTH)
    torch._dynamo.config.fail_on_recompile_limit_hit = True  # instead of quietly running a layer uncompiled
    variants = {"defaults": models.B} if settings.quick else models.VARIANTS
    comparisons = []
    for size in settings.sizes:
        for variant, words in variants.items():
            plain, compiled = (models.build(size, words, settings.device).on_device() for _ in range(2))
            torch.compiler.reset()  # else the layers of all variants count towards torch's limit of recompilations
            for layer in compiled.encoder.layers:
                layer.compile(dynamic=False)
            ours = operations(compiled, batch)
            for operation, uncompiled in operations(plain, batch).items():
                first = seconds(ours[operation], settings.device)
                comparison = devices.compare(
                    f"{size}, {variant}, {operation} (first call {first:.0f} s)",
                    (uncompiled, ours[operation]),
                    sentences * LENGTH,
                    "tokens/s",
                    settings,
                    count=False,
                    first_call_seconds=first,
                )
                comparisons.append(comparison)
    return comparisons_report(comparisons, NOTES)


def seconds(call: Callable[[], None], device: str) -> float:
    """How long a call takes, what it left on a GPU included."""
    start = time.perf_counter()
    devices.seconds(call, device)
    return time.perf_counter() - start
