"""``run.json`` in the folder of a training: what was run, with one record for each start."""

import datetime

from common import files


def read(folder):
    """What ``run.json`` in a folder says, or None where there is none."""
    path = folder / "run.json"
    return files.read_json(path) if path.exists() else None


def check_same(folder, **identity):
    """Exit with one sentence if the folder holds a run of something else."""
    record = read(folder) or {}
    for name, value in identity.items():
        if record.get(name, value) != value:
            raise SystemExit(
                f"train: {folder} holds a run with {name} '{record[name]}', not '{value}'; name another --save-dir."
            )


def begin(folder, identity, **start):
    """Add the record of a start, which has not ended yet."""
    record = {**identity, "starts": [], **(read(folder) or {})}
    record["starts"].append({"begun": now(), **start, "ended": None, "status": "running"})
    files.write_json(folder / "run.json", record)


def end(folder, status, updates):
    """Complete the record of the last start."""
    record = read(folder)
    record["starts"][-1].update(ended=now(), status=status, updates_after=updates)
    files.write_json(folder / "run.json", record)


def last_start(folder):
    """The record of the last start of a run, empty where there is none."""
    return (read(folder) or {"starts": [{}]})["starts"][-1]


def finished(folder, max_update):
    """Whether a run ended by itself, perhaps by patience, when at least so many updates were asked for."""
    start = last_start(folder)
    return start.get("status") == "finished" and start.get("max_update", 0) >= max_update


def budget(folder):
    """What the last start of a run was asked for, in words; None where there is no record of it."""
    start = last_start(folder)
    try:
        return f"{start['max_update']:,} updates of {start['batch']['batch_tokens']:,} tokens"
    except KeyError:  # made by an earlier version
        return None


def seconds(folder):
    """How long the starts of a run took together, those that were cut off left out; None where there is no record."""
    record = read(folder)
    if record is None:
        return None
    begun_and_ended = [(start["begun"], start["ended"]) for start in record["starts"] if start["ended"]]
    return sum(
        (datetime.datetime.fromisoformat(ended) - datetime.datetime.fromisoformat(begun)).total_seconds()
        for begun, ended in begun_and_ended
    )


def now():
    """The time, with its zone."""
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")
