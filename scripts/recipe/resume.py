"""What a training's folder says about how far it came."""

import os
import shutil


def reader():
    """The module that reads checkpoints, ready to read those of fairseq."""
    from common import checkpoints  # here, since it brings torch, which --help does without

    checkpoints.package_file("patches/safe_globals.py")["allow_fairseq_globals"]()
    return checkpoints


def updates_in(path):
    """The number of updates of a checkpoint, or exit with one sentence."""
    read = reader()
    return read.updates_of(read.load(path), path)


def updates_done(folder):
    """The number of updates in a folder's last checkpoint; 0 if there is none."""
    last = folder / "checkpoint_last.pt"
    return updates_in(last) if last.exists() else 0


def mend(folder):
    """Replace a last checkpoint that cannot be read by the newest of its folder that can; the updates that it holds.

    The plugin makes fairseq write it whole or not at all; this is for a file that was damaged otherwise.

    Raises:
        SystemExit: there is no other checkpoint that can be read.
    """
    last = folder / "checkpoint_last.pt"
    if not last.exists():
        return 0
    read = reader()
    try:
        checkpoint = read.load(last)
    except SystemExit:
        for other in sorted(set(folder.glob("checkpoint*.pt")) - {last}, key=os.path.getmtime, reverse=True):
            try:
                updates = updates_in(other)
            except SystemExit:  # damaged too, as the one that the last was copied from may be
                continue
            temporary = last.with_suffix(".tmp")
            shutil.copy(other, temporary)
            temporary.replace(last)
            print(f"train: {last} was damaged; going on from {other.name}, the newest sound one.")
            return updates
        raise
    return read.updates_of(checkpoint, last)
