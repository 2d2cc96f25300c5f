"""Run a training to its end, or to the one that a signal asks for, without leaving a process behind."""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from common import command, files, usage

STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)  # end a training after the current update
END_SIGNALS = (signal.SIGINT, signal.SIGHUP)  # end it at once
STOPPED = 75  # EX_TEMPFAIL of sysexits.h: the same command goes on


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[int]:
    """Hold a folder, with a file that fairseq's processes hold too: two trainings in it would mix their checkpoints."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "lock").touch()
    except OSError as error:
        raise SystemExit(f"train: --save-dir {folder} cannot be written: {error.strerror}.") from error
    with files.locked(folder / "lock", f"train: another training is running in {folder}.") as lock:
        yield lock


@contextlib.contextmanager
def environment_kept() -> Iterator[None]:
    """Hold the environment that this program runs in, so that no setup.sh empties it meanwhile."""
    path = Path(sys.prefix) / "sret_fairseq.setup.lock"
    if not path.exists():
        yield  # an environment of the user's own
        return
    with open(path, "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield


def end_on_signals() -> None:
    """Have every signal that asks for an end unwind this process, so that what it started ends and is recorded."""
    for number in (*STOP_SIGNALS, *END_SIGNALS):
        signal.signal(number, end)


def end(number: int, _: object) -> NoReturn:
    """End with the status of a signal, as its handler."""
    say("ended by a signal; the same command goes on.")
    raise SystemExit(STOPPED if number in STOP_SIGNALS else 128 + number)


def say(text: str) -> None:
    """Print in the handler of a signal, which may have interrupted another print."""
    os.write(sys.stderr.fileno(), f"train: {text}\n".encode())


def run(program: Sequence[str], read: Callable[[str], None], locks: Sequence[int] = ()) -> int:
    """Run a training.

    Args:
        program: the command, of which every process ends after the current update when it gets SIGUSR1.
        read: takes each line that it says.
        locks: descriptors of files that its processes hold too.

    Returns:
        its status; STOPPED if it ended well since a signal asked for it.
    """
    stopping = False

    def stop(number: int, frame: object) -> None:
        nonlocal stopping
        if stopping:
            end(number, frame)
        stopping = True
        say("ending after the current update; a second signal ends it at once.")
        tell(process)

    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "encoding": "utf-8", "errors": "replace"}
    # A process that has no handler of its own, such as torchrun, is deaf to the signal.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    with command.child(program, pass_fds=locks, **pipe) as process:
        for number in STOP_SIGNALS:
            signal.signal(number, stop)
        for line in process.stdout:
            read(line)
            if stopping:
                tell(process)  # again, since it may have been deaf at its start
        code = process.wait()
    return STOPPED if stopping and code == 0 else code


def tell(process: subprocess.Popen) -> None:
    """Ask all processes of a training to end after the current update."""
    command.send(signal.SIGUSR1, [process.pid, *usage.descendants(process.pid)])
