"""scripts/common/arguments.py: what a command line takes for a number."""

import argparse

import pytest
import torch

from common import arguments


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
