"""scripts/setup.sh leaves an environment alone that is not its own, or that another set-up or a training is using."""

import fcntl
import os
import subprocess

import pytest

from recipe import supervise
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


def test_a_training_holds_its_environment(monkeypatch, tmp_path):
    """Together with other trainings, and only an environment that setup.sh made."""
    monkeypatch.setattr(supervise.sys, "prefix", str(tmp_path))
    with supervise.environment_kept():
        assert not list(tmp_path.iterdir())
    (tmp_path / LOCK).touch()
    with open(tmp_path / LOCK) as other:
        with supervise.environment_kept(), supervise.environment_kept(), pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def refusal(venv) -> str:
    """What setup.sh says of an environment that it refuses, which it leaves as it is."""
    before = {path.name: path.read_text() for path in venv.iterdir()}
    command = ["bash", REPOSITORY / "scripts" / "setup.sh"]
    done = subprocess.run(command, env={**os.environ, "VENV": str(venv)}, capture_output=True, text=True)
    assert done.returncode == 1
    assert {path.name: path.read_text() for path in venv.iterdir()} == before
    return done.stderr


def test_an_environment_of_the_users_own_is_refused(tmp_path):
    """And nobody is told to remove it."""
    (tmp_path / "pyvenv.cfg").touch()
    said = refusal(tmp_path)
    assert said.startswith(f"setup: {tmp_path} was not made by this script, which leaves it alone; install")
    assert f"({tmp_path}/bin/python -m pip install '{REPOSITORY}[plot,recipes,export]')" in said


def test_an_environment_of_another_checkout_is_refused(tmp_path):
    other, venv = tmp_path / "other", tmp_path / "venv"
    other.mkdir()
    venv.mkdir()
    (venv / "sret_fairseq.setup").write_text(f"checkout {other}\nenvironment {venv}\n")
    assert refusal(venv) == (
        f"setup: {venv} belongs to the checkout {other}, which made it; name another folder: VENV=FOLDER.\n"
    )
