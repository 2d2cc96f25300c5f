"""fairseq copies checkpoints in place; a training that is killed just then leaves half a ``checkpoint_last.pt``."""

import contextlib
import fcntl
import functools
import glob
import os
import tempfile
from typing import Callable

from fairseq.file_io import PathManager


def atomic(copy: Callable) -> Callable:
    """A function that copies a file, replacing another by a whole one or not at all."""

    @functools.wraps(copy)
    def copy_whole(src_path: str, dst_path: str, overwrite: bool = False) -> bool:
        folder, name = os.path.split(os.path.realpath(dst_path))  # through a link, as fairseq writes
        remove_abandoned(folder, name)
        file, partial = tempfile.mkstemp(prefix=f"{name}.", suffix=".tmp", dir=folder)
        with open(file, "wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                if copied := copy(src_path, partial, overwrite=True):
                    os.chmod(partial, os.stat(src_path).st_mode)  # that of a temporary file keeps others out
                    os.replace(partial, os.path.join(folder, name))
                return copied
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.remove(partial)

    return copy_whole


def remove_abandoned(folder: str, name: str) -> None:
    """Remove the half copies that killed processes left of a file: those that no living process holds locked."""
    for partial in glob.glob(os.path.join(glob.escape(folder), f"{glob.escape(name)}.????????.tmp")):
        with contextlib.suppress(OSError), open(partial, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.remove(partial)


def copy_whole_files() -> None:
    """Make fairseq replace the checkpoints that it copies as a whole, in this process."""
    if not hasattr(PathManager.copy, "__wrapped__"):
        PathManager.copy = staticmethod(atomic(PathManager.copy))
