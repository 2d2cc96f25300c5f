"""Files that appear whole or not at all."""

import contextlib
import json
import os
import tempfile


@contextlib.contextmanager
def whole(path):
    """Give a temporary name to write to, renamed to ``path`` once all is written; a failure leaves nothing.

    Raises:
        SystemExit: the file cannot be written.
    """
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
