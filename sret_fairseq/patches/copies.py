"""fairseq copies checkpoints in place; a training that is killed just then leaves half a ``checkpoint_last.pt``."""

import functools
import os
from typing import Callable

from fairseq.file_io import PathManager

from sret_fairseq import temporary


def atomic(copy: Callable) -> Callable:
    """A function that copies a file, replacing another by a whole one or not at all."""

    @functools.wraps(copy)
    def copy_whole(src_path: str, dst_path: str, overwrite: bool = False) -> bool:
        path = os.path.realpath(dst_path)  # through a link, as fairseq writes
        with temporary.beside(path) as partial:
            if copied := copy(src_path, partial, overwrite=True):
                os.replace(partial, path)
            return copied

    return copy_whole


def copy_whole_files() -> None:
    """Make fairseq replace the checkpoints that it copies as a whole, in this process."""
    if not hasattr(PathManager.copy, "__wrapped__"):
        PathManager.copy = staticmethod(atomic(PathManager.copy))
