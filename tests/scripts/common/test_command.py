"""scripts/common/command.py: commands end with one line, and what they started ends with them."""

import os
import signal
import subprocess
import sys
import time

import pytest

from support.models import REPOSITORY

# Starts a program that starts another, and prints the numbers of both.
PARENT = """
import sys
from common import command

def main():
    child = "import os, subprocess, time; other = subprocess.Popen(['sleep', '100']); print(os.getpid(), other.pid)"
    with command.child([sys.executable, "-u", "-c", child + "; time.sleep(100)"]) as process:
        process.wait()

command.run(main)
"""


def started(program):
    """A process that runs a program with the parts of scripts/."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "scripts")}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", program], env=environment, **pipes)


def alive(number):
    """Whether a process is still there and is no zombie."""
    try:
        with open(f"/proc/{number}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    ("number", "status", "said"),
    [(signal.SIGINT, 130, "-c: interrupted.\n"), (signal.SIGTERM, 143, ""), (signal.SIGKILL, -9, "")],
)
def test_children_end_with_their_parent(number, status, said):
    """By Ctrl-C and SIGTERM with all that they started; after a SIGKILL at least themselves."""
    process = started(PARENT)
    child, grandchild = map(int, process.stdout.readline().split())
    process.send_signal(number)
    assert process.wait(30) == status and process.stderr.read() == said
    ended = [child] if number == signal.SIGKILL else [child, grandchild]
    for _ in range(100):
        if not any(map(alive, ended)):
            break
        time.sleep(0.1)
    assert not any(map(alive, ended))
    if alive(grandchild):
        os.kill(grandchild, signal.SIGKILL)
