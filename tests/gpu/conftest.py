"""The device of the tests in this folder: a GPU, without which they are skipped, or what TEST_DEVICE names.

TEST_DEVICE=cpu runs all that a CPU can, which shows that the tests work.
"""

import os
from pathlib import Path
from typing import Iterator

import pytest
import torch

from support.device_trainings import references_in
from support.side_by_side import SideBySide


@pytest.fixture(scope="session")
def device() -> str:
    """``cuda`` or ``cpu``."""
    named = os.environ.get("TEST_DEVICE", "cuda")
    if named == "cuda" and not torch.cuda.is_available():
        pytest.skip("there is no GPU that torch can use; TEST_DEVICE=cpu runs what needs none")
    return named


@pytest.fixture
def gpu(device) -> str:
    """The same for a test that a CPU cannot run."""
    if device == "cpu":
        pytest.skip("a CPU cannot do that")
    return device


@pytest.fixture(scope="session")
def references(device, shared, data) -> Path:
    """The folder with the trainings of device_trainings.REFERENCES, each in a folder of its name."""
    return shared("references", lambda folder: references_in(folder, data))


@pytest.fixture(scope="session")
def side_by_side() -> Iterator[SideBySide]:
    """Where trainings run, as many at a time as there are cores."""
    trainings = SideBySide(os.cpu_count() or 1)
    yield trainings
    trainings.end()
