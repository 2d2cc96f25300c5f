"""Temporary files and folders beside those that they are to replace, which thus appear whole or not at all.

Each is locked as long as it is written, so that what a killed process left can be told from what is at work. This file
imports nothing of the package, so that scripts that do without fairseq have it too.
"""

import contextlib
import fcntl
import glob
import os
import shutil
import uuid
from typing import Iterator


@contextlib.contextmanager
def beside(path: str, folder: bool = False) -> Iterator[str]:
    """Give the path of a new, empty file or folder beside another one, removed on leaving unless it was moved.

    What killed processes left of the same path is removed before.

    Raises:
        OSError: it cannot be made.
    """
    remove_abandoned(path)
    file, temporary = new_and_locked(path, folder)
    try:
        yield temporary
    finally:
        remove(temporary)
        os.close(file)


def new_and_locked(path: str, folder: bool) -> "tuple[int, str]":
    """The descriptor and the path of what this process alone has, and no other takes for abandoned."""
    while True:
        temporary = f"{path}.{uuid.uuid4().hex[:8]}.tmp"
        if folder:
            os.mkdir(temporary)
        file = os.open(temporary, os.O_RDONLY if folder else os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        with contextlib.suppress(OSError):  # a file system without locks, on which nothing is removed either
            fcntl.flock(file, fcntl.LOCK_EX)
        if os.path.exists(temporary):
            return file, temporary
        os.close(file)  # another process removed it before it was locked


def remove_abandoned(path: str) -> None:
    """Remove the temporary files and folders beside a path that no living process holds locked."""
    for temporary in glob.glob(f"{glob.escape(path)}.{'[0-9a-f]' * 8}.tmp"):
        with contextlib.suppress(OSError):
            file = os.open(temporary, os.O_RDONLY)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove(temporary)
            finally:
                os.close(file)


def remove(path: str) -> None:
    """Remove a file, or a folder with all that is in it, if it is there."""
    if os.path.isdir(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            os.remove(path)
