"""Pairs of measurements, their ratio, and the goals that the ratio is held against."""

import statistics
import sys
from dataclasses import dataclass, field
from typing import Callable, Dict, List, Optional, Tuple

SECONDS = "s"


@dataclass(frozen=True)
class Goal:
    """What a ratio should reach, or stay under. Printed beside it, never asserted."""

    bound: float
    at_least: bool = True

    def __str__(self) -> str:
        return f"{'>=' if self.at_least else '<='} {self.bound:.2f}"

    def verdict(self, ratio: float) -> str:
        """``met`` or ``missed``."""
        return "met" if (ratio >= self.bound if self.at_least else ratio <= self.bound) else "missed"


@dataclass
class Comparison:
    """B against A.

    Attributes:
        name: what was measured.
        unit: of the samples.
        a, b: samples of A and B; the i-th ones were measured one after the other.
        goal: of the median ratio, or None.
        flops: floating-point operations of one sample of A and of B, or None where they were not counted.
        utilisation: of the device's measured rate of matrix products, by A and by B, or None.
        facts: whatever else the JSON should say.
    """

    name: str
    unit: str
    a: List[float]
    b: List[float]
    goal: Optional[Goal] = None
    flops: Optional[Tuple[float, float]] = None
    utilisation: Optional[Tuple[float, float]] = None
    facts: dict = field(default_factory=dict)

    @property
    def ratios(self) -> List[float]:
        """For each pair B / A; of seconds A / B: how many times as fast B is."""
        return [a / b if self.unit == SECONDS else b / a for a, b in zip(self.a, self.b, strict=True)]

    @property
    def ratio(self) -> float:
        """The median of the ratios."""
        return statistics.median(self.ratios)

    def record(self) -> dict:
        """For JSON: every sample, and what the table says."""
        return {
            "name": self.name,
            "unit": self.unit,
            "a": self.a,
            "b": self.b,
            "ratios": self.ratios,
            "median_a": statistics.median(self.a),
            "median_b": statistics.median(self.b),
            "ratio": self.ratio,
            "ratio_min": min(self.ratios),
            "ratio_max": max(self.ratios),
            "goal": None if self.goal is None else str(self.goal),
            "verdict": None if self.goal is None else self.goal.verdict(self.ratio),
            "flops": self.flops,
            "utilisation": self.utilisation,
            **self.facts,
        }


def alternate(measures: Dict[str, Callable[[], float]], rounds: int, name: str) -> Dict[str, List[float]]:
    """Measure several things in turn, A B A B ..., so that a change of the machine's speed meets all of them.

    Args:
        measures: by name, functions that measure once and return the sample. Warm them up before.
        rounds: how many samples of each.
        name: for the progress on standard error.
    """
    samples: Dict[str, List[float]] = {key: [] for key in measures}
    for number in range(1, rounds + 1):
        for key, measure in measures.items():
            samples[key].append(measure())
        print(f"{name}: round {number} of {rounds}", file=sys.stderr, flush=True)
    return samples
