"""Files that appear whole or not at all."""

import contextlib
import json
import os


def write_text(path, text):
    """Write a file under a temporary name, then rename it; one sentence and an end if that fails."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise SystemExit(f"{path} cannot be written: {error.strerror}.") from error


def write_json(path, value):
    """Write JSON with ``write_text``."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")
