"""Files that appear whole or not at all."""

import contextlib
import fcntl
import json
import os
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


@contextlib.contextmanager
def whole(path):
    """Give a temporary name to write to, renamed to ``path`` once all is written; a failure leaves nothing.

    Raises:
        SystemExit: the file cannot be written, or is a device or the like, which must not be replaced.
    """
    path = path.resolve()
    if path.exists() and not path.is_file():
        raise SystemExit(f"{path} is no regular file; name another.")
    temporary = path.parent / f"{path.name}.{os.getpid()}.tmp"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise SystemExit(f"{path} cannot be written: {error.strerror or error}.") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path, text):
    """Write a text with ``whole``."""
    with whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path, value):
    """Write JSON with ``whole``."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path):
    """Return what a file of JSON says, or exit with one sentence."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SystemExit(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise SystemExit(f"{path} is damaged, no JSON: {error}.") from error


@contextlib.contextmanager
def held(path, busy):
    """Hold the lock of a file, made if it is not there, and give its descriptor; ``busy`` is said if another has it.

    Raises:
        SystemExit: another process holds it.
    """
    with open(path, "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit(busy) from None
        yield lock.fileno()


def output_folder(path):
    """Make the folder for the results, before the work rather than after it, or exit with one sentence.

    A file is opened in it to see that it can be written: os.access tells root yes of folders where it cannot.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise SystemExit(f"--out: {path} cannot be made a folder to write in: {error.strerror}.") from error
