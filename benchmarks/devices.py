"""Time, floating-point operations and the speed of matrix products, on a CPU and on a GPU."""

import argparse
import logging
import time
import warnings
from functools import lru_cache
from typing import Any, Callable, List, Tuple

import torch

from benchmarks import kernels
from benchmarks.comparison import Comparison, Goal, alternate
from common import costs

COUNTED = (
    "Floating-point operations: matrix products and attention, the latter as if no mask spared any; "
    "no elementwise work, no optimiser."
)


def prepare(settings: argparse.Namespace) -> None:
    """Set the number of threads, silence fairseq, and refuse a GPU that is not there."""
    # fairseq sets DEBUG for all libraries, and warns of its own old ways to call torch and Hydra.
    logging.basicConfig(level=logging.WARNING, force=True)
    warnings.simplefilter("ignore")
    torch.set_num_threads(settings.threads)
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("benchmarks: --device cuda needs a GPU that torch can use; there is none here.")
    if settings.device == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise SystemExit("benchmarks: --device cuda computes in bf16, which this GPU cannot multiply.")


def dtype(device: str) -> torch.dtype:
    """The number format of the models: float32 on a CPU, bf16 on a GPU."""
    return torch.bfloat16 if device == "cuda" else torch.float32


def seconds(run: Callable[[], object], device: str) -> float:
    """How long one call takes, until the device has finished.

    On a CPU, of one thread the processor's time, which other work on the machine changes least; else the clock's.
    """
    if device == "cuda":
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        start.record()
        run()
        end.record()
        torch.cuda.synchronize()
        return start.elapsed_time(end) / 1000
    now = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    start = now()
    run()
    return now() - start


def flops(run: Callable[[], object]) -> int:
    """The floating-point operations of one call, see COUNTED."""
    with costs.counter() as counter:
        run()
    return counter.get_total_flops()


@lru_cache(maxsize=1)
def matrix_product_rate() -> float:
    """Floating-point operations a second of large matrix products on the GPU, in the format of the models."""
    size = 8192
    left, right = (torch.randn(size, size, device="cuda", dtype=dtype("cuda")) for _ in range(2))

    def run() -> None:
        for _ in range(10):
            left @ right

    run()
    return 10 * 2 * size**3 / min(seconds(run, "cuda") for _ in range(5))


def calls_for(run: Callable[[], object], settings: argparse.Namespace) -> int:
    """How many calls make a sample long enough to be timed: about a fifth of a second. Warms up."""
    run()
    return 1 if settings.quick else max(1, round(0.2 / seconds(run, settings.device)))


def compare(
    name: str,
    runs: Tuple[Callable, Callable],
    work: float,
    unit: str,
    settings: argparse.Namespace,
    goal: Goal | None = None,
    steps: int = 1,
    **facts: Any,
) -> Comparison:
    """Compare the speed of two functions that do the same work.

    Args:
        name: of the comparison.
        runs: A and B. Both are warmed up, then measured in turn, with the same number of calls a sample.
        work: units of work in one call.
        unit: of the work a second.
        settings: the command line's.
        goal: of the ratio.
        steps: of one call, such as updates, of which kernels and their time are told.
        facts: for the JSON.
    """
    counts = tuple(map(flops, runs))
    calls = max(calls_for(run, settings) for run in runs)

    def rate(run: Callable[[], object]) -> float:
        def all_calls() -> None:
            for _ in range(calls):
                run()

        return calls * work / seconds(all_calls, settings.device)

    a, b = alternate({"A": lambda: rate(runs[0]), "B": lambda: rate(runs[1])}, settings.pairs, name).values()
    result = Comparison(name, unit, a, b, goal, counts, facts=facts)
    if settings.device == "cuda":
        result.utilisation = tuple(map(lambda samples, count: used(samples, work, count), (a, b), counts))
        result.facts["gpu"] = [kernels.activity(run, steps).record() for run in runs]
    return result


def used(rates: List[float], work: float, count: int) -> float:
    """The share of the measured rate of matrix products that the fastest sample reached."""
    return max(rates) / work * count / matrix_product_rate()
