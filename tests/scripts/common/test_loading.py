"""scripts/common/loading.py: what the command lines of its scripts share."""

import argparse

import pytest
import torch

from common import loading


def test_seed():
    """What torch takes, and one sentence for what it does not."""
    seed = loading.seed
    for number in (-(2**63), 0, 2**64 - 1):
        torch.Generator().manual_seed(seed(str(number)))
    for number in (-(2**63) - 1, 2**64, 10**20):
        with pytest.raises(argparse.ArgumentTypeError, match=r"give a number from -2\*\*63 to 2"):
            seed(str(number))


def test_sentence():
    """The first line, and what a colon announces; an exception without a message has its name."""
    sentence = loading.sentence
    assert sentence(ValueError("one.\ntwo")) == "one"
    assert sentence(RuntimeError("it fails:\n\tsize mismatch.\n\tmore")) == "it fails: size mismatch"
    assert sentence(AssertionError()) == "AssertionError"
