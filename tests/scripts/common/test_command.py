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


# A part of a Bash script, at work.
PART = """
import time
from common import command

def main():
    print("begun", flush=True)
    time.sleep(100)

command.run_part(main)
"""


def started(program):
    """A process that runs a program with the parts of scripts/."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "scripts")}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", program], env=environment, preexec_fn=heed_ctrl_c, **pipes)


def heed_ctrl_c():
    """A shell starts what runs in the background, which these tests may, deaf to Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


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
    assert process.wait(30) == status
    ended = [child] if number == signal.SIGKILL else [child, grandchild]
    for _ in range(100):
        if not any(map(alive, ended)):
            break
        time.sleep(0.1)
    assert not any(map(alive, ended))
    if alive(grandchild):
        os.kill(grandchild, signal.SIGKILL)  # which would keep standard error open
    assert process.stderr.read() == said


STUBBORN = """
import sys
from common import command

command.SECONDS_TO_END = 1

def main():
    child = "import os, subprocess, time; "
    child += "other = subprocess.Popen(['bash', '-c', 'trap : TERM; while :; do sleep 1; done'], "
    child += "start_new_session=True, stdout=subprocess.DEVNULL); print(os.getpid(), other.pid); time.sleep(100)"
    with command.child([sys.executable, "-u", "-c", child]) as process:
        process.wait()

command.run(main)
"""


def test_a_session_of_its_own_does_not_save_a_process():
    """torchrun gives each of its processes one; this one is deaf to SIGTERM as well."""
    process = started(STUBBORN)
    child, grandchild = map(int, process.stdout.readline().split())
    process.terminate()
    assert process.wait(30) == 143
    left = [number for number in (child, grandchild) if alive(number)]
    for number in left:
        os.kill(number, signal.SIGKILL)
    assert not left


def test_a_part_ends_with_the_script_that_called_it(tmp_path):
    """Bash does not pass a signal on, and dies of it while the part is at work."""
    (tmp_path / "part.py").write_text(PART)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "scripts")}
    script = f"exec 9>{tmp_path}/lock; flock -n 9; {sys.executable} {tmp_path}/part.py 9>&- & echo $!; wait"
    process = subprocess.Popen(["bash", "-c", script], env=environment, stdout=subprocess.PIPE, text=True)
    child = int(process.stdout.readline())
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    for _ in range(100):
        if not alive(child):
            break
        time.sleep(0.1)
    assert not alive(child)


def test_ctrl_c_while_a_script_still_imports():
    """Which takes seconds with torch: one line, and the status of the signal."""
    # A shell has what it starts in the background ignore the signal.
    heeds = "signal.signal(signal.SIGINT, signal.default_int_handler)"
    program = f"import signal; {heeds}; from common import files; signal.raise_signal(signal.SIGINT)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "-c: interrupted.\n")
