"""Settings of all tests, and what several of them share."""

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from support.models import REPOSITORY
from support.training import make_data

# The parts of scripts/ find one another there, in child processes too.
os.environ["PYTHONPATH"] = str(REPOSITORY / "scripts")

# The models are tiny: a second thread costs more than it brings, and far more on a busy machine.
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)

LOG_LEVEL = logging.getLogger().level


@pytest.fixture(autouse=True)
def log_level() -> Iterator[None]:
    """Some scripts turn fairseq's messages off; other tests read them."""
    yield
    logging.getLogger().setLevel(LOG_LEVEL)
    logging.disable(logging.NOTSET)


@pytest.fixture(scope="session")
def shared(tmp_path_factory) -> Callable[[str, Callable[[Path], object]], Path]:
    """A function that returns the folder of a name, which the first of all workers to ask for it fills.

    Tests read what is there and write elsewhere.
    """
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent  # each worker has a folder of its own, in that of the run

    def folder_of(name: str, fill: Callable[[Path], object]) -> Path:
        folder, filled = root / name, root / f"{name}.filled"
        with FileLock(root / f"{name}.lock"):
            if not filled.exists():
                shutil.rmtree(folder, ignore_errors=True)  # of a worker that failed halfway
                folder.mkdir()
                fill(folder)
                filled.touch()
        return folder

    return folder_of


@pytest.fixture(scope="session")
def data(shared) -> Path:
    """The binarised toy corpus of support/training.py; its text lies in the folder above."""
    return shared("toy", make_data) / "data-bin"
