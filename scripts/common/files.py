"""Files that appear whole or not at all, and folders that one process alone writes to."""

import contextlib
import fcntl
import functools
import json
import runpy
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]


@functools.cache
def package_file(name: str) -> dict[str, Any]:
    """Return what a file of the package defines; importing the package would import fairseq, which takes longer."""
    return runpy.run_path(str(REPOSITORY / "sret_fairseq" / name))


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Give a temporary file to write to, renamed to ``path`` once all is written; a failure leaves nothing.

    What a symbolic link names is written, and the link stays. What a killed process left goes with the next writing.

    Raises:
        SystemExit: the file cannot be written, or is a device or the like, which must not be replaced.
    """
    path = Path(path).resolve()
    if path.exists() and not path.is_file():
        raise SystemExit(f"{path} is no regular file; name another.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with package_file("temporary.py")["beside"](str(path)) as temporary:
            yield Path(temporary)
            Path(temporary).replace(path)
    except OSError as error:
        raise SystemExit(f"{path} cannot be written: {error.strerror or error}.") from error


@contextlib.contextmanager
def atomic_together(folder: Path, names: Iterable[str]) -> Iterator[dict[str, Path]]:
    """``atomic`` of several files of a folder, by name: none is renamed before all are written.

    Raises:
        SystemExit: one of them cannot be written or must not be replaced.
    """
    with contextlib.ExitStack() as stack:
        temporaries = {name: stack.enter_context(atomic(folder / name)) for name in names}
        try:
            yield temporaries
        except OSError as error:
            raise SystemExit(f"{folder} cannot be written: {error.strerror or error}.") from error


def write_text(path: Path, text: str) -> None:
    """Write a text with ``atomic``."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: object) -> None:
    """Write JSON with ``atomic``."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Return what a file of JSON says, or exit with one sentence."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SystemExit(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise SystemExit(f"{path} is damaged, no JSON: {error}.") from error


def read_object(path: Path, **kinds: type) -> dict[str, Any]:
    """Return the object in a file of JSON, or exit with one sentence unless its keys hold values of these types."""
    value = read_json(path)
    if not isinstance(value, dict):
        raise SystemExit(f"{path} holds no JSON object, with {{ and }} around it.")
    for key, kind in kinds.items():
        if not isinstance(value.get(key), kind):
            raise SystemExit(f"{path}: '{key}' is {'missing' if key not in value else f'no {kind.__name__}'}.")
    return value


@contextlib.contextmanager
def locked(path: Path, busy: str) -> Iterator[int]:
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


def output_folder(path: Path) -> None:
    """Make the folder for the results, before the work rather than after it, or exit with one sentence.

    A file is opened in it to see that it can be written: os.access tells root yes of folders where it cannot.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise SystemExit(f"--out: {path} cannot be made a folder to write in: {error.strerror}.") from error


def keep_inputs(inputs: Iterable[Path], outputs: Iterable[Path]) -> None:
    """Exit with one sentence if a file that is read is one of those that will be written, by whatever path."""
    written = {path.resolve() for path in outputs}
    for path in inputs:
        if path.resolve() in written:
            raise SystemExit(f"--out: {path} is read, and would be overwritten; name another folder.")


@contextlib.contextmanager
def results_folder(path: Path) -> Iterator[None]:
    """``output_folder``; what fails before anything is written there leaves no folder that was not there before."""
    made = not path.exists()
    output_folder(path)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # it holds something
            if made:
                path.rmdir()
