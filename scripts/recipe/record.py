"""What the folder of a training says: ``run.json``, with one record for each start, and its last checkpoint."""

import datetime
import os
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

from common import files
from common.words import counted


def read(folder: Path) -> dict[str, Any] | None:
    """What ``run.json`` in a folder says, or None where there is none.

    Raises:
        SystemExit: it is no record of a training.
    """
    path = folder / "run.json"
    if not path.exists():
        return None
    record = files.read_object(path, starts=list)
    starts = record["starts"]
    if not starts or not all(isinstance(start, dict) and isinstance(start.get("begun"), str) for start in starts):
        raise SystemExit(f"{path}: 'starts' does not list the starts of a training, each with 'begun'.")
    return record


def binds_nobody(folder: Path) -> bool:
    """Whether there is nothing but a start that failed before its first checkpoint."""
    return last_start(folder).get("status") == "failed" and not any(folder.glob("checkpoint*.pt"))


def check_same(folder: Path, **identity: str) -> None:
    """Exit with one sentence if the folder holds a run of something else, and not a failed start alone."""
    record = read(folder) or {}
    if binds_nobody(folder):
        return
    for name, value in identity.items():
        if record.get(name, value) != value:
            raise SystemExit(
                f"train: {folder} holds a run with {name} '{record[name]}', not '{value}'; name another --save-dir."
            )


def begin(folder: Path, identity: dict[str, str], **start: Any) -> None:
    """Add the record of a start, which has not ended yet; a failed start alone is forgotten, its time too."""
    before = {} if binds_nobody(folder) else read(folder) or {}
    record = {"starts": [], **before, **identity}
    record["starts"].append({"begun": now(), **start, "ended": None, "status": "running"})
    files.write_json(folder / "run.json", record)


def end(folder: Path, status: str, updates: int) -> None:
    """Complete the record of the last start."""
    record = read(folder)
    record["starts"][-1].update(ended=now(), status=status, updates_after=updates)
    files.write_json(folder / "run.json", record)


def last_start(folder: Path) -> dict[str, Any]:
    """The record of the last start of a run, empty where there is none."""
    return (read(folder) or {"starts": [{}]})["starts"][-1]


def finished(folder: Path, max_update: int) -> bool:
    """Whether a run ended by itself, perhaps by patience, when at least so many updates were asked for."""
    start = last_start(folder)
    return start.get("status") == "finished" and start.get("max_update", 0) >= max_update


def budget(folder: Path) -> str | None:
    """What the last start of a run was asked for, in words; None where there is no record of it."""
    start = last_start(folder)
    try:
        return f"{counted(start['max_update'], 'update')} of {counted(start['batch']['batch_tokens'], 'token')}"
    except (KeyError, TypeError, ValueError):  # made by an earlier version
        return None


def seconds(folder: Path) -> float | None:
    """How long the starts of a run took together, those that were cut off left out; None where there is no record."""
    record = read(folder)
    if record is None:
        return None
    begun_and_ended = [(start["begun"], start["ended"]) for start in record["starts"] if start.get("ended")]
    try:
        return sum(
            (datetime.datetime.fromisoformat(ended) - datetime.datetime.fromisoformat(begun)).total_seconds()
            for begun, ended in begun_and_ended
        )
    except (TypeError, ValueError) as error:
        raise SystemExit(f"{folder / 'run.json'}: 'begun' and 'ended' hold no times: {error}.") from error


def now() -> str:
    """The time, with its zone."""
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")


def reader() -> ModuleType:
    """The module that reads checkpoints, ready to read those of fairseq."""
    from common import checkpoints  # here, since it brings torch, which --help does without

    checkpoints.package_file("patches/safe_globals.py")["allow_fairseq_globals"]()
    return checkpoints


def updates_in(path: Path) -> int:
    """The number of updates of a checkpoint, or exit with one sentence."""
    read = reader()
    return read.updates_of(read.load(path), path)


def updates_done(folder: Path) -> int:
    """The number of updates in a folder's last checkpoint; 0 if there is none."""
    last = folder / "checkpoint_last.pt"
    return updates_in(last) if last.exists() else 0


def repair(folder: Path) -> int:
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
        other = newest_sound(folder)
        if other is None:
            raise
        with files.atomic(last) as temporary:
            shutil.copy(other, temporary)
        print(f"train: {last} was damaged; going on from {other.name}, the newest sound one.")
        checkpoint = read.load(last)
    return read.updates_of(checkpoint, last)


def newest_sound(folder: Path) -> Path | None:
    """The newest checkpoint beside the last that can be read and has not diverged."""
    last, read = folder / "checkpoint_last.pt", reader()
    for other in sorted(set(folder.glob("checkpoint*.pt")) - {last}, key=os.path.getmtime, reverse=True):
        try:
            checkpoint = read.load(other)
            read.updates_of(checkpoint, other)
            read.check_finite(checkpoint["model"], other)
        except SystemExit:  # as the one that the last was copied from may be
            continue
        return other
    return None


def check_diverged(folder: Path) -> None:
    """Exit with one sentence, which says what to do, if the model in the last checkpoint diverged."""
    last = folder / "checkpoint_last.pt"
    if not last.exists():
        return
    read = reader()
    try:
        read.check_finite(read.load(last)["model"], last)
    except SystemExit as error:
        other = newest_sound(folder)
        way = f"cp {other} {last} goes back to the newest sound one" if other else "none is sound"
        raise SystemExit(f"train: {error} Of the checkpoints beside it: {way}.") from error
