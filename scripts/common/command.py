"""How commands and the programs that they start end: together, and without a traceback."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from common import files, usage

LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1  # of prctl(2)
SECONDS_TO_END = 30
SECONDS_WORTH_TELLING = 10


def missing(module: str) -> str:
    """The sentence for a Python that lacks a module which scripts/setup.sh installs."""
    return (
        f"{sys.executable} has no {module}: activate the environment (source .venv/bin/activate) that "
        f"bash scripts/setup.sh makes."
    )


def run(main: Callable[[], int | None]) -> NoReturn:
    """Run a command line and end with its status; a signal that ends it does so with one line and its own status."""
    name = os.path.basename(sys.argv[0])
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that temporary files go
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print(f"{name}: interrupted.", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)


def run_part(main: Callable[[], int | None]) -> NoReturn:
    """The same for a part of another script, which ends when that does.

    If that is a step of steps.sh, what the part takes is written to the file that STEP_USAGE names.
    """
    end_with_parent()
    path = os.environ.pop("STEP_USAGE", None)
    run(lambda: measured(main, Path(path)) if path else main())


def measured(main: Callable[[], int | None], path: Path) -> int | None:
    """Run a part, tell what it took if that was long, and write it to a file of JSON."""
    measure = usage.Usage()
    status = main()
    taken = measure.end()
    if taken["seconds"] > SECONDS_WORTH_TELLING:
        print(usage.describe(taken))
    files.write_json(path, taken)
    return status


def end_with_parent() -> None:
    """Have this process ended by SIGTERM as soon as the thread that started it ends, by whatever; on Linux."""
    if sys.platform == "linux":
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


@contextlib.contextmanager
def child(args: Sequence[object], **options: Any) -> Iterator[subprocess.Popen]:
    """Start a program in a process group of its own, which is ended on leaving, and when this process is killed.

    Args:
        args: the program and its arguments.
        options: of subprocess.Popen.
    """
    process = subprocess.Popen(list(map(str, args)), start_new_session=True, preexec_fn=end_with_parent, **options)
    try:
        yield process
    finally:
        end_group(process)


def end_group(process: subprocess.Popen) -> None:
    """End a child with all that it started: politely, then by force, also what has groups of its own."""
    started = usage.descendants(process.pid)
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError, subprocess.TimeoutExpired):
            os.killpg(process.pid, number)
            process.wait(SECONDS_TO_END)
    send(signal.SIGKILL, started)


def send(number: signal.Signals, processes: Iterable[int]) -> None:
    """Send a signal to those of the processes that are still there."""
    for process in processes:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process, number)
