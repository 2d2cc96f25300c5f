"""The gate through which checkpoints are read: whole files alone, of data alone, with text that runs nothing.

torch compares no checksum of a checkpoint, so that a damaged one may load and translate wrongly. And data are not safe
by themselves: fairseq calls ``eval`` on the text of some options, such as ``adaptive_softmax_cutoff`` or the layers of
``fconv``, when it builds a model. So text in the options of a checkpoint that calls anything is refused, for every
architecture and whatever the option; only those that are named like files and folders, and thus free text, may.

This file imports no fairseq, so that a script that only reads checkpoints starts fast.
"""

import argparse
import ast
import lzma
import os
import pickle
import re
import stat
import warnings
import zipfile
import zlib
from typing import Any, BinaryIO, Dict, Iterator, Tuple

import torch

ZIP_SIGNATURE = b"PK\x03\x04"
PICKLE_SIGNATURE = b"\x80"  # of torch's old format, which has no checksums
ENCRYPTED, FOLDER = 0x1, 0x10  # bits of an entry's flags and of its external attributes
BLOCK = 2**20
UNREADABLE = (zipfile.BadZipFile, EOFError, OSError, ValueError, RuntimeError, zlib.error, lzma.LZMAError)
# Options that nothing evaluates, and in which "runs/model(2)" is a name and not a call.
FREE_TEXT = re.compile(r"(.*_)?(data|dir|logdir|file|path|model|codes|vocab|json|subset|suffix|project|teacher|cache)")


class CheckpointError(SystemExit, ValueError):
    """A checkpoint that cannot be used. Uncaught it ends a command with its sentence and status 1."""


def read(path: str) -> dict:
    """The contents of a checkpoint, after all checks; the tensors are mapped into memory when they are used.

    Raises:
        CheckpointError: it is missing, damaged, no checkpoint of fairseq, or holds more than data.
    """
    verify(path)
    try:
        state = torch.load(path, map_location="cpu", mmap=zipfile.is_zipfile(path), weights_only=True)
    except pickle.UnpicklingError as error:
        culprit = re.search(r"(?:GLOBAL |got <class ')([\w.]+)", str(error))
        if culprit is None:
            raise CheckpointError(f"{path} cannot be read: it is damaged or no checkpoint.") from error
        raise CheckpointError(
            f"{path} carries {culprit[1]}, which is not among the data that may stand in a checkpoint; the file was "
            f"refused and none of its code was run."
        ) from error
    except Exception as error:  # a damaged file makes torch raise nearly anything
        raise CheckpointError(f"{path} cannot be read: it is truncated, damaged or no checkpoint.") from error
    check_contents(path, state)
    return state


def verify(path: str) -> None:
    """Compare the checksums that torch stores with each tensor of a checkpoint.

    Raises:
        CheckpointError: there is no such file, or it was cut off or has changed.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise CheckpointError(f"{path} cannot be read: it is a directory or a device.")
        with open(path, "rb") as file:
            start = file.read(len(ZIP_SIGNATURE))
            if start == ZIP_SIGNATURE:
                verify_archive(path, file)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.") from error
    if start != ZIP_SIGNATURE and not start.startswith(PICKLE_SIGNATURE):
        raise CheckpointError(f"{path} cannot be read: it is damaged or no checkpoint.")


def verify_archive(path: str, file: BinaryIO) -> None:
    """The same of a zip archive, as torch.save writes it: nothing is compressed, and no two entries share bytes.

    Raises:
        CheckpointError: see verify.
    """
    try:
        archive = zipfile.ZipFile(file)
        entries = archive.infolist()
        for entry in entries:
            # torch takes a tensor in a "folder" for one that has no data.
            stored = entry.compress_type == zipfile.ZIP_STORED and not entry.flag_bits & ENCRYPTED
            if entry.external_attr & FOLDER or not stored:
                raise CheckpointError(f"{path} is damaged or no checkpoint (entry of {entry.filename}); use another.")
        if sum(entry.file_size for entry in entries) > os.fstat(file.fileno()).st_size:
            raise CheckpointError(f"{path} is damaged or no checkpoint: it says that it is larger than it is.")
        for entry in entries:
            if entry.CRC == 0:
                continue  # written without checksums: torch.serialization.set_crc32_options(False)
            with archive.open(entry) as contents:
                while contents.read(BLOCK):
                    pass
    except CheckpointError:
        raise
    except UNREADABLE as error:
        raise CheckpointError(f"{path} is damaged ({error}); use another checkpoint or copy it anew.") from error


def check_contents(path: str, state: Any) -> None:
    """Make sure that a file holds a model and its options, of tensors that are as large as they say.

    Raises:
        CheckpointError: it does not, or the text of an option calls a function.
    """
    model = state.get("model") if isinstance(state, dict) else None
    if not model or not isinstance(model, dict) or not all(torch.is_tensor(tensor) for tensor in model.values()):
        raise CheckpointError(f"{path} is no checkpoint of fairseq: it holds no model.")
    options = {name: state[name] for name in ("cfg", "args") if state.get(name) is not None}
    if not all(isinstance(value, (dict, argparse.Namespace)) for value in options.values()) or not options:
        raise CheckpointError(f"{path} is no checkpoint of fairseq: it holds no options of its model.")
    for name, value in leaves(state):
        if torch.is_tensor(value) and not is_stored(value):
            raise CheckpointError(f"{path}: {name} says that it has more numbers than the file holds; use another.")
    for name, value in leaves(options):
        if isinstance(value, bytes) or (isinstance(value, str) and not FREE_TEXT.fullmatch(name) and calls(value)):
            raise CheckpointError(
                f"{path} carries a call in the text of its option {name}, which fairseq would run; the file was "
                f"refused and none of its code was run."
            )


def leaves(value: Any, name: str = "") -> Iterator[Tuple[str, object]]:
    """All that containers hold, at any depth, with the name under which it stands in the last one that has names."""
    seen, waiting = set(), [(name, value)]
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, (dict, argparse.Namespace, list, tuple, set)):
            if id(value) in seen:
                continue
            seen.add(id(value))
        if isinstance(value, (dict, argparse.Namespace)):
            named = value if isinstance(value, dict) else vars(value)
            waiting += [(str(key), item) for key, item in named.items()]
        elif isinstance(value, (list, tuple, set)):
            waiting += [(name, item) for item in value]
        else:
            yield name, value


def is_stored(tensor: torch.Tensor) -> bool:
    """Whether a tensor has no more numbers than its storage."""
    strided = tensor.layout == torch.strided
    return strided and tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()


def check_finite(model: Dict[str, torch.Tensor], path: str) -> None:
    """Refuse the tensors of a model that diverged.

    Raises:
        CheckpointError: one of them holds a NaN or an infinite number.
    """
    for name, tensor in model.items():
        if not tensor.isfinite().all():
            raise CheckpointError(
                f"{path}: the tensor {name} holds NaN or infinity; the training diverged: take another."
            )


def calls(text: str) -> bool:
    """Whether ``eval(text)`` would call anything; what Python cannot parse calls nothing."""
    if "(" not in text:
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of text that is no Python
            tree = ast.parse(text.lstrip(" \t"), mode="eval")
    except (SyntaxError, ValueError):
        return False
    except (RecursionError, MemoryError):
        return True  # nested too deeply to say
    return any(isinstance(node, ast.Call) for node in ast.walk(tree))
