"""Checkpoints as fairseq lays them out, made by hand: harmless ones and ones with a payload."""

import argparse
import os
from pathlib import Path

import torch


class Payload:
    """An object that makes a folder when it is unpickled without a check."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def write_checkpoint(path: Path, model: dict, **extra) -> Path:
    """Write a checkpoint that holds these tensors, and what else is given, into a file; its path."""
    checkpoint = {
        "args": None,
        "cfg": {"model": argparse.Namespace(arch="sret_transformer_tiny")},
        "model": model,
        "optimizer_history": [{"optimizer_name": "FairseqAdam", "lr_scheduler_state": {}, "num_updates": 40}],
        "extra_state": {"train_iterator": {"epoch": 3}, "metrics": {}},
        "last_optimizer_state": {"step": torch.ones(5)},
    }
    torch.save({**checkpoint, **extra}, path)
    return path
