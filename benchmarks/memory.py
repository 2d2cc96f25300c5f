"""Peak memory of training, each measurement in a process of its own.

Run as a program (``python -m benchmarks.memory SIZE DEVICE MAX_TOKENS CRITERION OPTION...``) it measures one system and
prints two numbers of bytes.
"""

import argparse
import gc
import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import List

import torch

from benchmarks import models
from benchmarks.batches import training_batches
from benchmarks.comparison import Comparison, Goal, alternate
from benchmarks.options import chosen
from benchmarks.report import Report, comparisons_report
from benchmarks.time_limit import within
from benchmarks.train import PLAIN, max_tokens, trainings

GOAL = Goal(0.95, at_least=False)
OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "MemoryError", "bad_alloc")
UPDATES = 3  # Adam's state comes with the first one
PARTS = ("in all", "beyond the weights")
NOTES = [
    "A: fairseq's transformer, 6+6 layers, pre-norm. B: sret_transformer, 3 blocks x 2 passes a side, same width.",
    f"The peak of {UPDATES} updates of fairseq's Trainer on the same batch: in all, and beyond the model as built.",
    "On a CPU the resident memory of the process above what it occupied after its imports; on a GPU torch's allocator.",
]


class DoesNotFitError(SystemExit):
    """A system that takes more memory than there is."""


class Meter:
    """Memory in bytes, now and at the peak since ``reset``."""

    def __init__(self, device: str):
        self.device = device

    def now(self) -> int:
        """What is occupied."""
        return torch.cuda.memory_allocated() if self.device == "cuda" else self.from_status("VmRSS")

    def peak(self) -> int:
        """The most that was occupied."""
        return torch.cuda.max_memory_allocated() if self.device == "cuda" else self.from_status("VmHWM")

    def reset(self) -> None:
        """Begin a new peak."""
        if self.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        else:
            Path("/proc/self/clear_refs").write_text("5")

    @staticmethod
    def from_status(field: str) -> int:
        """A line of the kernel's report: ru_maxrss would also hold the peak of the process that started this one."""
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field + ":"))


def leave_the_machine_some() -> None:
    """Let this process fail when it has taken most of what is free, before the kernel begins to end processes."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    free = 1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    limit = Meter.from_status("VmData") + int(0.8 * free)
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard == resource.RLIM_INFINITY or limit < hard:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


def measure_here(size: str, device: str, tokens: str, criterion: str, words: List[str]) -> dict:
    """Train in this process; bytes by the names in PARTS."""
    (batch,) = training_batches(int(tokens), count=1)
    meter = Meter(device)
    if device == "cpu":
        leave_the_machine_some()
    imported = meter.now()
    trainer = models.build(size, " ".join(words), device, criterion).trainer()
    built = meter.now()
    meter.reset()
    for _ in range(UPDATES):
        trainer.train_step([batch], raise_oom=True)
    return dict(zip(PARTS, (meter.peak() - imported, meter.peak() - built)))


def measure(size: str, words: str, criterion: str, settings: argparse.Namespace) -> dict:
    """``measure_here``, in a new process unless a GPU's allocator counts, which knows what was before.

    Raises:
        DoesNotFitError: for want of memory.
    """
    if settings.device == "cuda":
        gc.collect()
        try:
            return measure_here(size, "cuda", str(max_tokens(settings)), criterion, words.split())
        except torch.OutOfMemoryError as error:
            raise DoesNotFitError(f"benchmarks: {error}") from error
    child = [sys.executable, "-m", "benchmarks.memory", size, settings.device, str(max_tokens(settings)), criterion]
    run = subprocess.run([*child, *words.split()], capture_output=True, text=True)
    if run.returncode:
        failure = DoesNotFitError if any(words in run.stderr for words in OUT_OF_MEMORY) else SystemExit
        raise failure(f"benchmarks: a measurement of memory failed; its last words:\n{run.stderr[-2000:]}")
    return json.loads(run.stdout.splitlines()[-1])


def run(settings: argparse.Namespace) -> Report:
    """Every variant of B, and A, in turn."""
    comparisons = []
    for size in settings.sizes:
        systems = {"A": (models.A, PLAIN), **chosen(trainings(), settings)}
        if settings.device == "cuda":  # whose allocator counts the same every time
            samples = {name: [measure(size, *system, settings)] for name, system in within(settings, size, systems)}
        else:
            measures = {
                name: lambda size=size, system=system: measure(size, *system, settings)
                for name, system in systems.items()
            }
            samples = alternate(measures, settings.pairs, f"{size}, memory")
        for part in PARTS:
            in_mib = {name: [sample[part] / 2**20 for sample in taken] for name, taken in samples.items()}
            comparisons += [
                Comparison(f"{size}, {name}, {part}", "MiB", in_mib["A"], in_mib[name], GOAL)
                for name in in_mib
                if name != "A"
            ]
    return comparisons_report(comparisons, NOTES)


if __name__ == "__main__":
    print(json.dumps(measure_here(*sys.argv[1:5], sys.argv[5:])))
