"""Checkpoints of fairseq, read without fairseq, whose import takes seconds."""

import re
from pathlib import Path
from typing import Any

from common import command, files
from common.files import package_file

try:
    import torch
except ImportError as error:
    raise SystemExit(command.missing("torch")) from error

EPOCH_FILE = re.compile(r"checkpoint(\d+)\.pt")
UPDATE_FILE = re.compile(r"checkpoint_\d+_(\d+)\.pt")
TRAINING_FILE = re.compile(r"checkpoint(\d+|_\d+_\d+|_last|_best|\.best_.*)\.pt")  # any that fairseq-train writes
# The options that stay the same while a run is resumed, by their part of fairseq's configuration.
RUN_OPTIONS = [
    *(("task", name) for name in ("data", "source_lang", "target_lang")),
    ("common", "seed"),
    ("checkpoint", "save_dir"),
]


def numbered_checkpoints(folder: Path, pattern: re.Pattern[str]) -> list[tuple[int, Path]]:
    """Return ``(number, path)`` of the checkpoints of a folder, by their number: the one group of the pattern.

    Raises:
        SystemExit: the folder cannot be read.
    """
    try:
        return sorted((int(match[1]), path) for path in folder.iterdir() if (match := pattern.fullmatch(path.name)))
    except OSError as error:
        raise SystemExit(f"{folder} cannot be read: {error.strerror}.") from error


def load(path: Path) -> dict[str, Any]:
    """Return the contents of a checkpoint, or exit with one sentence.

    The file is mapped: only the tensors that are used come into memory. One of torch's old format cannot be.
    """
    return package_file("patches/checkpoints.py")["read"](path)


def updates_of(checkpoint: dict[str, Any], path: Path) -> int:
    """Return after how many updates a checkpoint was saved, or exit with one sentence."""
    history = checkpoint.get("optimizer_history")
    updates = history[-1].get("num_updates") if history else None
    if updates is None:
        raise SystemExit(f"{path} does not say after how many updates it was saved; it is no checkpoint of a training.")
    return updates


def training_of(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """What a checkpoint says of its training, which all checkpoints of a run say alike; None for what it leaves out."""
    cfg = checkpoint.get("cfg") or {}
    old = options_of(checkpoint.get("args"))  # where fairseq kept all options until 0.10
    model = options_of(cfg.get("model")) or old
    result = {"architecture": model.get("arch") or model.get("_name")}
    for section, name in RUN_OPTIONS:
        result[name] = options_of(cfg.get(section)).get(name, old.get(name))
    return result | {name: model[name] for name in sorted(model) if name.startswith(("encoder_", "decoder_"))}


def options_of(section: object) -> dict[str, Any]:
    """The options of a part of a checkpoint's configuration, which fairseq keeps as a dictionary or a Namespace."""
    return section if isinstance(section, dict) else vars(section) if hasattr(section, "__dict__") else {}


def drop_training_state(checkpoint: dict[str, Any]) -> None:
    """Leave out of a checkpoint the optimizer, the meters and the moving average (EMA), which only training reads."""
    checkpoint.pop("last_optimizer_state", None)
    extra_state = checkpoint.get("extra_state") or {}
    checkpoint["extra_state"] = {key: extra_state[key] for key in ("train_iterator",) if key in extra_state}


def place_of(tensor: torch.Tensor) -> tuple:
    """Where a tensor has its numbers: equal for two tensors of a model that share all of them."""
    return tensor.data_ptr(), tensor.shape, tensor.stride()


def check_finite(model: dict[str, torch.Tensor], path: Path) -> None:
    """Exit with one sentence if a tensor of a model holds NaN or an infinity."""
    package_file("patches/checkpoints.py")["check_finite"](model, path)


def save(checkpoint: dict[str, Any], output: Path) -> None:
    """Write a checkpoint with ``files.atomic``."""
    with files.atomic(output) as temporary:
        try:
            torch.save(checkpoint, temporary)
        except RuntimeError as error:  # torch reports a full disk as one
            said = str(error).splitlines()[0]
            raise SystemExit(f"--output: {output} cannot be written; is there space left? ({said})") from error
