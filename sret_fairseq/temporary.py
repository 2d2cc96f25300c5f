"""Temporary files beside those that they are to replace, so that files appear whole or not at all.

Each is locked as long as it is written, so that what a killed process left can be told from what is at work. This file
imports nothing of the package, so that scripts that do without fairseq have it too.
"""

import contextlib
import fcntl
import glob
import os
import uuid
from typing import Iterator


@contextlib.contextmanager
def beside(path: str) -> Iterator[str]:
    """Give the path of a new, empty file in the folder of another one, which is removed on leaving unless it was moved.

    What killed processes left of the same file is removed before.

    Raises:
        OSError: it cannot be made.
    """
    remove_abandoned(path)
    file, temporary = new_and_locked(path)
    try:
        yield temporary
    finally:
        with contextlib.suppress(OSError):
            os.remove(temporary)
        os.close(file)


def new_and_locked(path: str) -> "tuple[int, str]":
    """The descriptor and the path of a file that this process alone has, and that no other takes for abandoned."""
    while True:
        temporary = f"{path}.{uuid.uuid4().hex[:8]}.tmp"
        file = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        with contextlib.suppress(OSError):  # a file system without locks, on which nothing is removed either
            fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file).st_nlink:
            return file, temporary
        os.close(file)  # another process removed it before it was locked


def remove_abandoned(path: str) -> None:
    """Remove the temporary files beside a file that no living process holds locked."""
    for temporary in glob.glob(f"{glob.escape(path)}.????????.tmp"):
        with contextlib.suppress(OSError), open(temporary, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.remove(temporary)
