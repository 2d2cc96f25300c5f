"""Training that is killed: what is left on the disk, and how it goes on from there."""

import os
import resource
import signal
import time

import pytest
import torch
from fairseq import checkpoint_utils
from fairseq.trainer import Trainer

from support.training import assert_same_weights, load, start, train, train_quietly

UPDATES = 16
# Without --update-epoch-batch-itr fairseq makes the batches of the epoch in which it starts and keeps them for all
# later ones, so that after the first epoch a training that was resumed has other batches than one that was not.
WORDS = (
    f"--max-update {UPDATES} --save-interval-updates 1 --dropout 0.3 --slice-permutation random --clip-norm 0.5 "
    "--update-epoch-batch-itr True"
)


@pytest.fixture(scope="module")
def undisturbed(data, tmp_path_factory):
    """A training from beginning to end, and its folder."""
    folder = tmp_path_factory.mktemp("undisturbed")
    return train(data, folder, WORDS), folder


def updates(checkpoint: dict) -> int:
    """The update at which a checkpoint was saved."""
    return checkpoint["optimizer_history"][-1]["num_updates"]


def assert_resumes(data, folder, undisturbed):
    """The same command once more ends where the undisturbed training did: weights, optimiser and place, bit for bit."""
    left = updates(load(folder))
    assert 0 < left < UPDATES
    resumed = train(data, folder, WORDS)
    expected, _ = undisturbed
    assert_same_weights(resumed["model"], expected["model"])
    for index, state in expected["last_optimizer_state"]["state"].items():
        assert_same_weights(
            {name: torch.as_tensor(value) for name, value in resumed["last_optimizer_state"]["state"][index].items()},
            {name: torch.as_tensor(value) for name, value in state.items()},
        )
    assert resumed["extra_state"]["train_iterator"] == expected["extra_state"]["train_iterator"]
    return resumed


def test_undisturbed_trainings_are_equal(data, undisturbed, tmp_path):
    """The yardstick itself: without a kill two trainings agree bit for bit, and another seed does not."""
    assert_same_weights(train(data, tmp_path / "same", WORDS)["model"], undisturbed[0]["model"])
    with pytest.raises(AssertionError):
        assert_same_weights(train(data, tmp_path / "other", f"{WORDS} --seed 2")["model"], undisturbed[0]["model"])


@pytest.mark.parametrize("update", [2, 9])
def test_killed_from_outside(update, data, undisturbed, tmp_path):
    """SIGKILL as soon as a checkpoint of an update is seen, wherever the training is by then."""
    process = start(train_quietly, data, tmp_path, WORDS)
    try:
        while not list(tmp_path.glob(f"checkpoint_*_{update}.pt")) or not (tmp_path / "checkpoint_last.pt").exists():
            assert process.is_alive()
            time.sleep(0.001)
    finally:
        process.kill()
        process.join()
    assert process.exitcode == -signal.SIGKILL
    resumed = assert_resumes(data, tmp_path, undisturbed)
    assert resumed["extra_state"]["best"] == undisturbed[0]["extra_state"]["best"]


def no_more_than(size: int) -> None:
    """From now on the kernel kills this process when it writes beyond the first ``size`` bytes of a file."""
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def train_and_die(data, folder, update, moment, size) -> None:
    """``train_quietly``, but at an update the writing or the copying of the checkpoint breaks off after ``size``."""
    save = Trainer.save_checkpoint

    def save_and_die(trainer, *values):
        if trainer.get_num_updates() < update:
            return save(trainer, *values)
        if moment == "written":
            no_more_than(size)
        result = save(trainer, *values)
        no_more_than(size)
        return result

    Trainer.save_checkpoint = save_and_die
    # Without validation there is no checkpoint_best.pt: the first copy is checkpoint_last.pt.
    train_quietly(data, folder, f"{WORDS} --disable-validation")


@pytest.mark.parametrize("moment", ["written", "copied"])
@pytest.mark.parametrize("part", [0.3, 0.99])
def test_killed_while_a_checkpoint_is_written(part, moment, data, undisturbed, tmp_path):
    """Broken off at any part of the file, checkpoint_last.pt is whole: the one before or the new one."""
    size = int(part * (undisturbed[1] / "checkpoint_last.pt").stat().st_size)
    process = start(train_and_die, data, tmp_path, 8, moment, size)
    process.join(timeout=60)
    assert process.exitcode == -signal.SIGXFSZ
    assert updates(load(tmp_path)) in ((7,) if moment == "written" else (7, 8))
    assert list(tmp_path.glob("*.tmp"))  # what was being written
    # as fairseq-generate loads it
    (model,), _ = checkpoint_utils.load_model_ensemble([os.fspath(tmp_path / "checkpoint_last.pt")])
    assert all(weight.isfinite().all() for weight in model.parameters())
    assert_resumes(data, tmp_path, undisturbed)
    assert not list(tmp_path.glob("*.tmp"))  # the next training has cleared up
