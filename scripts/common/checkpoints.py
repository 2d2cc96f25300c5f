"""Checkpoints of fairseq, read without fairseq, whose import takes seconds."""

import functools
import os
import pickle
import re
import runpy
import zipfile

import torch

from common.files import REPOSITORY

EPOCH_FILE = re.compile(r"checkpoint(\d+)\.pt")
UPDATE_FILE = re.compile(r"checkpoint_\d+_(\d+)\.pt")


def numbered_checkpoints(folder, pattern):
    """Return ``(number, path)`` of the checkpoints of a folder, by their number: the one group of the pattern."""
    return sorted((int(match[1]), path) for path in folder.iterdir() if (match := pattern.fullmatch(path.name)))


@functools.cache
def package_file(name):
    """Return what a file of the package defines; importing the package would import fairseq, which takes longer."""
    return runpy.run_path(str(REPOSITORY / "sret_fairseq" / name))


def load(path):
    """Return the contents of a checkpoint, or exit with one sentence.

    Its checksums are verified; then the file is mapped: only the tensors that are used come into memory. A file of
    torch's old format, which is no zip archive, has no checksums and cannot be mapped.
    """
    try:
        package_file("patches/checkpoints.py")["verify"](path)
        checkpoint = torch.load(path, map_location="cpu", mmap=zipfile.is_zipfile(path), weights_only=True)
    except SystemExit:  # says which checksum is wrong
        raise
    except pickle.UnpicklingError as error:
        culprit = re.search(r"GLOBAL ([\w.]+)", str(error))
        if culprit is None:
            raise SystemExit(f"{path} cannot be read: it is damaged or no checkpoint.") from error
        raise SystemExit(
            f"{path} carries {culprit[1]}, which is not among the data that may stand in a checkpoint; "
            f"the file was refused and none of its code was run."
        ) from error
    except OSError as error:
        raise SystemExit(f"{path} cannot be read: {error.strerror or error}.") from error
    except Exception as error:  # a damaged file makes torch raise nearly anything
        raise SystemExit(f"{path} cannot be read: it is truncated, damaged or no checkpoint.") from error
    model = checkpoint.get("model") if isinstance(checkpoint, dict) else None
    if not model or not isinstance(model, dict) or not all(torch.is_tensor(tensor) for tensor in model.values()):
        raise SystemExit(f"{path} is no fairseq checkpoint: it holds no model.")
    return checkpoint


def updates_of(checkpoint, path):
    """Return after how many updates a checkpoint was saved, or exit with one sentence."""
    history = checkpoint.get("optimizer_history")
    updates = history[-1].get("num_updates") if history else None
    if updates is None:
        raise SystemExit(f"{path} does not say after how many updates it was saved; it is no checkpoint of a training.")
    return updates


def save(checkpoint, output):
    """Write a checkpoint under a temporary name and rename it, so that a failure leaves nothing behind."""
    temporary = output.with_name(f"{output.name}.{os.getpid()}.tmp")
    try:
        torch.save(checkpoint, temporary)
        temporary.replace(output)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        raise SystemExit(f"--output: {output} cannot be written: {str(error).splitlines()[0]}") from error
    finally:
        temporary.unlink(missing_ok=True)
