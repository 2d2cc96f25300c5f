"""A training in two processes of torchrun ends by each signal as one process does: with a checkpoint, and whole."""

import os
import signal
import subprocess
import sys
import time

import pytest

from recipe import plan
from support.models import REPOSITORY
from support.training import BATCHES, GLOO, MODEL, OPTIMIZER, load

# What train.py does with the command of its plan, here of two processes on the CPU, which no plan has.
SUPERVISOR = """
import sys
from pathlib import Path
from common import command
from recipe import supervise

def main():
    supervise.end_on_signals()
    with supervise.locked(Path(sys.argv[1])) as lock:
        return supervise.run(sys.argv[2:], lambda line: print(line, end="", flush=True), [lock])

command.run(main)
"""
TORCHRUN = "-m torch.distributed.run --standalone --nproc-per-node 2 --no-python bash -c".split()
WORDS = (
    f"{MODEL} {BATCHES} {OPTIMIZER} {GLOO} --cpu --log-format json --log-interval 1 --ddp-backend legacy_ddp "
    "--distributed-world-size 2 --distributed-no-spawn --distributed-init-method env:// --device-id 0 "
    "--load-checkpoint-on-all-dp-ranks --save-interval 100000 --max-update 100000"
)


def processes_with(word):
    """The numbers of the processes that have a word in their command."""
    return subprocess.run(["pgrep", "-f", word], stdout=subprocess.PIPE, text=True).stdout.split()


def wait_until(holds):
    """Wait, for 100 seconds at most, until something holds."""
    for _ in range(1000):
        if holds():
            return
        time.sleep(0.1)
    raise AssertionError("nothing happened")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGUSR1, 75), (signal.SIGTERM, 75), (signal.SIGINT, 130), (signal.SIGHUP, 129), (signal.SIGKILL, -9)],
)
def test_two_processes(data, tmp_path, number, status):
    """torchrun gives each process a session of its own, where a signal to its group does not arrive."""
    save_dir, log = tmp_path / "run", tmp_path / "log"
    words = [data, "--user-dir", REPOSITORY / "sret_fairseq", "--save-dir", save_dir, *WORDS.split()]
    script = f'exec {sys.executable} {plan.TRAIN} "$@" --distributed-rank "$RANK"'
    program = [sys.executable, *TORCHRUN, script, "bash", *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "scripts")}
    with open(log, "w") as said:
        supervisor = [sys.executable, "-c", SUPERVISOR, str(save_dir), *program]
        process = subprocess.Popen(supervisor, env=environment, stdout=said, stderr=said, start_new_session=True)
    try:
        wait_until(lambda: '"num_updates"' in log.read_text() or process.poll() is not None)
        process.send_signal(number)
        assert process.wait(60) == status, log.read_text()
        wait_until(lambda: not processes_with(str(save_dir)))
    finally:
        for each in processes_with(str(save_dir)):
            os.kill(int(each), signal.SIGKILL)
    assert load(save_dir)["optimizer_history"][-1]["num_updates"] > 0
    assert number == signal.SIGKILL or "Traceback" not in log.read_text()
