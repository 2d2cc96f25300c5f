"""Settings of all tests, and what tests of the scripts share."""

import importlib

import pytest
import torch
from helpers import REPOSITORY

from sret_fairseq import encoder

# Short sentences are masked, longer ones gathered: the sentences of tests are on both sides of this length.
encoder.GATHER_FROM = 8

# The models are tiny: a second thread costs more than it brings, and far more on a busy machine.
torch.set_num_threads(1)


@pytest.fixture
def import_script(monkeypatch):
    """A function that imports a file of scripts/ as a module."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "scripts"))
    return importlib.import_module
