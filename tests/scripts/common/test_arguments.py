"""scripts/common/arguments.py: what a command line takes for a number."""

import argparse
from pathlib import Path

import pytest
import torch

from common import arguments
from support.models import REPOSITORY


def test_at_least():
    """Digits alone."""
    number = arguments.at_least(2)
    assert [number(word) for word in ("2", "10", "007")] == [2, 10, 7]
    for word in ("1", "0", "-3", "2.5", "two", "", "²", "1_000"):
        with pytest.raises(argparse.ArgumentTypeError, match=f"'{word}' is not a whole number of at least 2"):
            number(word)


def test_seed():
    """What torch takes, and one sentence for what it does not."""
    seed = arguments.seed
    for number in (-(2**63), 0, 2**64 - 1):
        torch.Generator().manual_seed(seed(str(number)))
    for number in (-(2**63) - 1, 2**64, 10**20):
        with pytest.raises(argparse.ArgumentTypeError, match=r"give a number from -2\*\*63 to 2"):
            seed(str(number))


@pytest.mark.parametrize(
    "kind, right, wrong, what",
    [
        (arguments.positive, ("0.5", "1e3"), ("0", "-1", "nan", "inf", "two", ""), "a number above 0"),
        (arguments.not_negative, ("0", "8"), ("-1", "nan", "inf"), "a number of at least 0"),
        (arguments.share, ("0.35", "1"), ("0", "1.01", "nan"), "a number above 0 and at most 1"),
        (arguments.ratio, ("1", "9"), ("0.9", "-1", "nan", "inf"), "a number of at least 1"),
    ],
)
def test_numbers_in_a_range(kind, right, wrong, what):
    """NaN is in none."""
    assert [kind(word) for word in right] == [float(word) for word in right]
    for word in wrong:
        with pytest.raises(argparse.ArgumentTypeError, match=f"^'{word}' is not {what}$"):
            kind(word)


def test_an_empty_path():
    """It would be the current folder."""
    assert arguments.path("a/b") == Path("a/b") and arguments.path(".") == Path()
    with pytest.raises(argparse.ArgumentTypeError, match="the path is empty"):
        arguments.path("")


@pytest.mark.parametrize("folder", ["benchmarks", "scripts"])
def test_no_command_takes_an_empty_path(folder):
    """All of them have the type above."""
    for path in (REPOSITORY / folder).rglob("*.py"):
        assert "type=Path" not in path.read_text(encoding="utf-8"), path
