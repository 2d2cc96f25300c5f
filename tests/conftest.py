"""Settings of all tests, and what tests of the scripts share."""

import importlib

import pytest
import torch
from helpers import REPOSITORY

# The models are tiny: a second thread costs more than it brings, and far more on a busy machine.
torch.set_num_threads(1)


@pytest.fixture
def import_script(monkeypatch):
    """A function that imports a file of scripts/ as a module."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "scripts"))
    return importlib.import_module
