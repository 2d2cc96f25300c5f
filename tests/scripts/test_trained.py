"""scripts/trained.py: what the command lines of its scripts share."""

import argparse

import pytest
import torch


def test_seed(import_script):
    """What torch takes, and one sentence for what it does not."""
    seed = import_script("trained").seed
    for number in (-(2**63), 0, 2**64 - 1):
        torch.Generator().manual_seed(seed(str(number)))
    for number in (-(2**63) - 1, 2**64, 10**20):
        with pytest.raises(argparse.ArgumentTypeError, match=r"give a number from -2\*\*63 to 2"):
            seed(str(number))
