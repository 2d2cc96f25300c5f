"""Checkpoints that are whole: what fairseq and torch leave out when they copy and read them.

torch reads a checkpoint without comparing its checksums, so that a damaged one may load and translate wrongly; and
fairseq overwrites ``checkpoint_last.pt`` in place, so that a training killed just then cannot be resumed.

The module itself imports no fairseq, so that a script that only reads checkpoints starts fast.
"""

import contextlib
import functools
import lzma
import os
import zipfile
import zlib

ZIP_SIGNATURE = b"PK\x03\x04"
FOLDER = 0x10  # a bit of an entry's external attributes


class DamagedCheckpoint(SystemExit, ValueError):
    """A checkpoint that is not what was written. Uncaught it ends a command with its sentence and status 1."""


def verify(path: str) -> None:
    """Compare the checksums that torch stores with each tensor of a checkpoint.

    A file of torch's old format, which has none, or of any other, is left to torch.

    Raises:
        DamagedCheckpoint: the file was cut off or has changed.
    """
    with open(path, "rb") as file:
        if file.read(len(ZIP_SIGNATURE)) != ZIP_SIGNATURE:
            return
        try:
            archive = zipfile.ZipFile(file)
            damaged = archive.testzip()
        except (zipfile.BadZipFile, EOFError, OSError, ValueError, RuntimeError, zlib.error, lzma.LZMAError) as error:
            raise DamagedCheckpoint(f"{path} is damaged ({error}); use another checkpoint or copy it anew.") from error
    if damaged is not None:
        raise DamagedCheckpoint(f"{path} is damaged (wrong checksum of {damaged}); use another or copy it anew.")
    for entry in archive.infolist():
        # torch.save writes no such entries, and torch takes a tensor in a "folder" for one that has no data.
        if entry.external_attr & FOLDER or entry.compress_type != zipfile.ZIP_STORED:
            raise DamagedCheckpoint(f"{path} is damaged or no checkpoint (entry of {entry.filename}); use another.")


def verifying(load):
    """fairseq's ``load_checkpoint_to_cpu``, verifying first."""

    @functools.wraps(load)
    def load_checkpoint_to_cpu(path, *args, **kwargs):
        verify(path)
        try:
            return load(path, *args, **kwargs)
        except RuntimeError as error:
            if "PytorchStreamReader" not in str(error):
                raise
            raise DamagedCheckpoint(f"{path} is damaged; use another checkpoint or copy it anew.") from error

    return load_checkpoint_to_cpu


def atomic(copy):
    """A function that copies a file, replacing another by a whole one or not at all.

    What a symbolic link names is replaced, and two trainings in one folder write to names of their own.
    """

    @functools.wraps(copy)
    def copy_whole(src_path, dst_path, overwrite=False):
        target = os.path.realpath(dst_path)
        partial = f"{target}.{os.getpid()}.tmp"
        try:
            copied = copy(src_path, partial, overwrite=overwrite)
        except BaseException:
            with contextlib.suppress(OSError):
                os.remove(partial)
            raise
        if copied:
            os.replace(partial, target)
        return copied

    return copy_whole


def keep_checkpoints_whole() -> None:
    """Make fairseq verify the checkpoints that it reads and replace those that it copies, in this process."""
    from fairseq import checkpoint_utils
    from fairseq.file_io import PathManager

    if not hasattr(PathManager.copy, "__wrapped__"):
        checkpoint_utils.load_checkpoint_to_cpu = verifying(checkpoint_utils.load_checkpoint_to_cpu)
        PathManager.copy = staticmethod(atomic(PathManager.copy))
