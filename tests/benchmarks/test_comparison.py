"""Pairs, ratios and goals."""

import pytest

from benchmarks.comparison import SECONDS, Comparison, Goal, alternate


def test_alternate_takes_turns():
    """A B A B, and each sample is its own measurement's."""
    order = []

    def measure(name):
        order.append(name)
        return len(order)

    samples = alternate({"A": lambda: measure("A"), "B": lambda: measure("B")}, rounds=3, name="test")
    assert order == ["A", "B"] * 3
    assert samples == {"A": [1, 3, 5], "B": [2, 4, 6]}


def test_ratio_is_the_median_of_the_pairs():
    """Not the ratio of the medians, which would be 2."""
    comparison = Comparison("test", "tokens/s", a=[1, 2, 10], b=[4, 3, 5])
    assert comparison.ratios == [4, 1.5, 0.5]
    assert comparison.ratio == 1.5


def test_fewer_seconds_are_a_higher_ratio():
    """Of seconds the ratio says how many times as fast B is."""
    assert Comparison("test", SECONDS, a=[6], b=[4]).ratio == 1.5


def test_pairs_must_be_whole():
    """A missing sample is an error, not a shorter list."""
    with pytest.raises(ValueError):
        _ = Comparison("test", "tokens/s", a=[1, 2], b=[1]).ratios


@pytest.mark.parametrize(
    "goal, ratio, verdict",
    [
        (Goal(1.1), 1.1, "met"),
        (Goal(1.1), 1.09, "missed"),
        (Goal(0.9, at_least=False), 0.9, "met"),
        (Goal(0.9, at_least=False), 0.91, "missed"),
    ],
)
def test_goals(goal, ratio, verdict):
    """A bound from below or from above, itself included."""
    assert goal.verdict(ratio) == verdict


def test_record_holds_every_sample():
    """The JSON says what the table says, and from which samples."""
    record = Comparison("test", "tokens/s", [2, 4, 5], [3, 8, 5], Goal(1.2), facts={"length": 32}).record()
    assert (record["a"], record["b"], record["ratios"]) == ([2, 4, 5], [3, 8, 5], [1.5, 2, 1])
    assert (record["ratio"], record["ratio_min"], record["ratio_max"]) == (1.5, 1, 2)
    assert (record["goal"], record["verdict"], record["length"]) == (">= 1.20", "met", 32)
