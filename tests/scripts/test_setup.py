"""scripts/setup.sh leaves an environment alone that another set-up, or a training, is using."""

import fcntl
import os
import subprocess

import pytest

from support.models import REPOSITORY

LOCK = "sret_fairseq.setup.lock"


def test_waits_for_another_set_up(tmp_path):
    """It says what it waits for, and has made nothing yet."""
    with open(tmp_path / LOCK, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        command = ["bash", REPOSITORY / "scripts" / "setup.sh"]
        environment = {**os.environ, "VENV": str(tmp_path)}
        process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)
        try:
            assert process.stderr.readline() == (
                f"setup: waiting for another set-up, or a training, that uses {tmp_path}\n"
            )
            assert [path.name for path in tmp_path.iterdir()] == [LOCK]
        finally:
            os.killpg(process.pid, 9)
            process.communicate()


def test_a_training_holds_its_environment(import_script, monkeypatch, tmp_path):
    """Together with other trainings, and only an environment that setup.sh made."""
    train = import_script("recipe.train")
    monkeypatch.setattr(train.sys, "prefix", str(tmp_path))
    with train.environment_kept():
        assert not list(tmp_path.iterdir())
    (tmp_path / LOCK).touch()
    with open(tmp_path / LOCK) as other:
        with train.environment_kept(), train.environment_kept(), pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
