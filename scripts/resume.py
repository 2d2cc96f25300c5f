"""What a training's folder says about how far it came."""

import os
import runpy
import shutil
from pathlib import Path

SAFE_GLOBALS = Path(__file__).resolve().parent.parent / "sret_fairseq" / "safe_globals.py"


def read(path):
    """Return the contents of a checkpoint, or exit with one sentence."""
    from average_checkpoints import load  # here, since it brings torch, which --help does without

    runpy.run_path(str(SAFE_GLOBALS))["allow_fairseq_globals"]()
    return load(path)


def updates_done(folder):
    """The number of updates in a folder's last checkpoint; 0 if there is none."""
    last = folder / "checkpoint_last.pt"
    return read(last)["optimizer_history"][-1]["num_updates"] if last.exists() else 0


def mend(folder):
    """Replace a last checkpoint that cannot be read by the newest other one of its folder.

    The plugin makes fairseq write it whole or not at all; this is for a file that was damaged otherwise.

    Raises:
        SystemExit: there is no other checkpoint that can be read.
    """
    last = folder / "checkpoint_last.pt"
    if not last.exists():
        return
    try:
        read(last)
    except SystemExit:
        others = sorted(set(folder.glob("checkpoint*.pt")) - {last}, key=os.path.getmtime)
        if not others:
            raise
        read(others[-1])
        temporary = last.with_suffix(".tmp")
        shutil.copy(others[-1], temporary)
        temporary.replace(last)
        print(f"train: {last} was damaged; going on from {others[-1].name}, the newest other one.")
