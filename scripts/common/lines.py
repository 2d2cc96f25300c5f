"""Files of text, one sentence a line, for the scripts that prepare data: streamed, on all cores, never left half done.

Only a line feed ends a line: the other characters that Python takes for line ends occur inside sentences of web text.
Whatever goes wrong with a file ends the script with one sentence.
"""

import codecs
import contextlib
import gzip
import multiprocessing
import os
import signal
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any, TextIO, TypeVar

from common import command, files
from common.progress import Progress
from common.words import counted

Row = TypeVar("Row")
Result = TypeVar("Result")

BATCH = 2000


def workers() -> int:
    """Return how many processes to use: the environment variable WORKERS, by default all cores."""
    return int(os.environ.get("WORKERS") or len(os.sched_getaffinity(0)))


@contextlib.contextmanager
def writing(path: str | Path) -> Iterator[TextIO]:
    """Open a file for text with ``files.atomic``."""
    with files.atomic(Path(path)) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as file:
        yield file


def read_lines(path: str | Path) -> Iterator[str]:
    """Yield the lines of a UTF-8 file, which may be gzipped (NAME.gz), without line feeds and a byte order mark."""
    number = 0
    try:
        with gzip.open(path) if str(path).endswith(".gz") else open(path, "rb") as file:
            for line in file:
                number += 1
                line = line.removesuffix(b"\n")
                yield (line.removeprefix(codecs.BOM_UTF8) if number == 1 else line).decode("utf-8")
    except UnicodeDecodeError as error:
        raise SystemExit(
            f"{path}, line {number} is not UTF-8 (byte {error.start + 1}); convert the file, "
            f"for example with iconv -f latin1 -t utf-8."
        ) from error
    except (EOFError, zlib.error) as error:
        raise SystemExit(f"{path} is truncated or damaged after line {number}: get it again.") from error
    except OSError as error:
        raise SystemExit(f"{path} cannot be read: {error.strerror or error}.") from error


def aligned(texts: Mapping[str | Path, Iterable[str]]) -> Iterator[tuple[str, ...]]:
    """Yield tuples of lines, one of each text of a dictionary from name to lines; all have to have the same number."""
    for number, row in enumerate(zip_longest(*texts.values()), 1):
        if None in row:
            names = list(texts)
            ended, goes_on = names[row.index(None)], next(n for n, line in zip(names, row) if line is not None)
            raise SystemExit(f"{ended} ends before line {number} but {goes_on} goes on: they are not aligned.")
        yield row


def write_aligned(paths: Iterable[Path], texts: Mapping[str | Path, Iterable[str]]) -> int:
    """Write texts to paths, one each; return their number of lines.

    Args:
        paths: where they go.
        texts: the lines of each by its name for messages; they have to be aligned.
    """
    number = 0
    with contextlib.ExitStack() as stack:
        outputs = [stack.enter_context(writing(path)) for path in paths]
        for row in aligned(texts):
            number += 1
            for file, line in zip(outputs, row):
                file.write(f"{line}\n")
        if not number:
            raise SystemExit(f"{next(iter(texts))} is empty.")
    return number


def batches(path: Path) -> Iterator[list[str]]:
    """Yield lists of lines of a file, and say now and then how far it is."""
    return in_batches(read_lines(path), path, len)


def aligned_batches(paths: Sequence[Path]) -> Iterator[list[tuple[str, ...]]]:
    """The same of tuples of lines, one of each file."""
    return in_batches(aligned({path: read_lines(path) for path in paths}), paths[0], lambda row: len(row[0]))


def in_batches(rows: Iterable[Row], path: Path, size: Callable[[Row], int]) -> Iterator[list[Row]]:
    """Yield lists of rows; ``size`` is how many characters of the file, roughly its bytes, one makes up."""
    rows, number, characters = iter(rows), 0, 0
    shown: Progress | None = None
    while batch := list(islice(rows, BATCH)):
        shown = shown or Progress(path.name, "lines", path.stat().st_size)
        yield batch
        number += len(batch)
        characters += sum(map(size, batch)) + len(batch)
        shown.report(number, characters)


def mapped(
    function: Callable[[list[Row]], list[Result]], batches: Iterable[list[Row]], name: str | Path
) -> Iterator[tuple[list[Row], list[Result]]]:
    """Yield the batches, each with the result of ``function``, computed on all cores.

    sacremoses' own pool would need the whole text in memory. One that forks takes any function.
    """
    pool = ProcessPoolExecutor(workers(), multiprocessing.get_context("fork"), begin_worker, (function,))
    pending: deque[tuple[list[Row], Future[list[Result]]]] = deque()
    try:
        for batch in batches:
            pending.append((batch, pool.submit(call_function, batch)))
            if len(pending) > 2 * workers():
                batch, result = pending.popleft()
                yield batch, result.result()
        for batch, result in pending:
            yield batch, result.result()
    except BrokenProcessPool as error:
        raise SystemExit(f"{name}: a process that worked on it was killed; is there enough memory?") from error
    finally:
        try:
            pool.shutdown(cancel_futures=True)
        except RuntimeError:  # a signal came while the pool was starting its thread, which ends its processes
            for process in multiprocessing.active_children():
                process.terminate()


def begin_worker(function: Callable[[list[Any]], list[Any]]) -> None:
    """Make a process of the pool ready: it leaves Ctrl-C to its parent and ends with it."""
    global worker_function
    worker_function = function
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    command.end_with_parent()


def call_function(batch: list[Any]) -> list[Any]:
    """What a process of the pool does with a batch."""
    return worker_function(batch)


def map_lines(function: Callable[[list[str]], list[str]], source: Path, target: Path) -> None:
    """Write ``function(lines)`` for the lines of ``source`` to ``target``, in batches and on all cores.

    The function returns a list of as many lines as it got, each without line ends.
    """
    with writing(target) as file:
        for batch, result in mapped(function, batches(Path(source)), source):
            if len(result) != len(batch):
                raise SystemExit(
                    f"{source}: {counted(len(batch), 'line')} became {len(result)}, so {target} was not written."
                )
            file.writelines(f"{line}\n" for line in result)
