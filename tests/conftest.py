"""Settings of all tests, and what tests of the scripts share."""

import importlib
import os

import pytest
import torch

from support.models import REPOSITORY

# The parts of scripts/ find one another there, in child processes too.
os.environ["PYTHONPATH"] = str(REPOSITORY / "scripts")

# The models are tiny: a second thread costs more than it brings, and far more on a busy machine.
torch.set_num_threads(1)


@pytest.fixture
def import_script(monkeypatch):
    """A function that imports a file of scripts/ as a module."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "scripts"))
    return importlib.import_module
