"""scripts/recipe/record.py reads from checkpoints how far a training came."""

import os
import re

import pytest
import torch

import sret_fairseq  # noqa: F401  (registers the model)
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


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("5", "run.json holds no JSON object"),
        ("{}", "run.json: 'starts' is missing."),
        ('{"starts": 3}', "run.json: 'starts' is no list."),
        ('{"starts": []}', "run.json: 'starts' does not list the starts of a training"),
        ('{"starts": [7]}', "run.json: 'starts' does not list the starts of a training"),
    ],
)
def test_a_record_of_the_wrong_shape(tmp_path, text, sentence):
    """One sentence that names file and key, whoever reads it."""
    (tmp_path / "run.json").write_text(text)
    for read in (record.read, record.budget, record.seconds, lambda folder: record.check_same(folder, model="sret")):
        with pytest.raises(SystemExit, match=re.escape(sentence)):
            read(tmp_path)


def test_a_failed_start_binds_nobody(tmp_path):
    """Until there is a checkpoint, a mistyped option may be put right."""
    record.begin(tmp_path, {"options": "--nll_ratio 0.25"})
    with pytest.raises(SystemExit, match=r"holds a run with options '--nll_ratio 0.25', not '--nll-ratio 0\.25'"):
        record.check_same(tmp_path, options="--nll-ratio 0.25")
    record.end(tmp_path, "failed", 0)
    record.check_same(tmp_path, options="--nll-ratio 0.25")
    record.begin(tmp_path, {"options": "--nll-ratio 0.25"})
    assert record.read(tmp_path)["options"] == "--nll-ratio 0.25"
    assert len(record.read(tmp_path)["starts"]) == 1  # whose time alone counts
    record.end(tmp_path, "failed", 3)
    (tmp_path / "checkpoint_last.pt").touch()
    with pytest.raises(SystemExit, match="name another --save-dir"):
        record.check_same(tmp_path, options="")


def test_times_that_are_none(tmp_path):
    (tmp_path / "run.json").write_text('{"starts": [{"begun": "now", "ended": "then"}]}')
    with pytest.raises(SystemExit, match=r"run\.json: 'begun' and 'ended' hold no times"):
        record.seconds(tmp_path)


def test_repair_takes_the_newest_sound_checkpoint(tmp_path):
    """The last checkpoint is a copy of another: one fault may have hit both."""
    for age, name in enumerate(("checkpoint2.pt", "checkpoint1.pt", "checkpoint_last.pt")):
        write_checkpoint(tmp_path / name, {"x": torch.ones(3)}, optimizer_history=[{"num_updates": 9 - age}])
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    for name in ("checkpoint2.pt", "checkpoint_last.pt"):
        os.truncate(tmp_path / name, 100)
    assert record.repair(tmp_path) == 8 == record.updates_done(tmp_path)
    for path in tmp_path.iterdir():
        os.truncate(path, 100)
    with pytest.raises(SystemExit, match=r"checkpoint_last\.pt is damaged"):
        record.repair(tmp_path)


def test_a_diverged_checkpoint_is_named_with_a_sound_one(tmp_path):
    """fairseq can save a last checkpoint of NaN; to go back from it is the user's decision."""
    nan = torch.tensor([1.0, float("nan")])
    for age, (name, values) in enumerate(
        {"checkpoint_last.pt": nan, "checkpoint3.pt": nan, "checkpoint2.pt": nan}.items()
    ):
        write_checkpoint(tmp_path / name, {"x": values}, optimizer_history=[{"num_updates": 9 - age}])
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    record.check_diverged(tmp_path / "nothing")
    with pytest.raises(SystemExit, match=r"checkpoint_last\.pt: the tensor x holds NaN .* none is sound\.$"):
        record.check_diverged(tmp_path)
    write_checkpoint(tmp_path / "checkpoint1.pt", {"x": torch.ones(2)}, optimizer_history=[{"num_updates": 4}])
    with pytest.raises(
        SystemExit, match=r": cp \S*checkpoint1\.pt \S*checkpoint_last\.pt goes back to the newest sound"
    ):
        record.check_diverged(tmp_path)
    assert record.repair(tmp_path) == 9  # which repairs files, not trainings
