"""scripts/recipe/record.py reads from checkpoints how far a training came."""

import pytest
import torch

from recipe import record
from support.checkpoints import write_checkpoint


def test_a_checkpoint_that_does_not_say_its_updates(tmp_path):
    """One sentence for what other programs may have left out."""
    for history in (None, [], [{}]):
        write_checkpoint(tmp_path / "checkpoint_last.pt", {"x": torch.ones(1)}, optimizer_history=history)
        with pytest.raises(SystemExit, match=r"checkpoint_last\.pt does not say after how many updates"):
            record.updates_done(tmp_path)


def test_what_can_be_read_is_not_replaced(tmp_path):
    """A last checkpoint without a history is no damaged one, however sound the others are."""
    last = write_checkpoint(tmp_path / "checkpoint_last.pt", {"x": torch.ones(1)}, optimizer_history=[])
    write_checkpoint(tmp_path / "checkpoint1.pt", {"x": torch.ones(1)}, optimizer_history=[{"num_updates": 5}])
    before = last.read_bytes()
    with pytest.raises(SystemExit, match=r"checkpoint_last\.pt does not say after how many updates"):
        record.repair(tmp_path)
    assert last.read_bytes() == before
    last.write_bytes(before[:100])
    assert record.repair(tmp_path) == 5
