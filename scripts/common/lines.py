"""Files of text, one sentence a line, for the scripts that prepare data: streamed, on all cores, never left half done.

Only a line feed ends a line: the other characters that Python takes for line ends occur inside sentences of web text.
Whatever goes wrong with a file ends the script with one sentence.
"""

import codecs
import contextlib
import gzip
import multiprocessing
import os
import shutil
import time
import zlib
from itertools import islice, zip_longest
from pathlib import Path

BATCH = 2000
# Below so many bytes for each process, starting it costs more than it saves.
SMALLEST_RANGE = 1 << 16
SECONDS_BETWEEN_REPORTS = 5


def workers():
    """Return how many processes to use: the environment variable WORKERS, by default all cores."""
    return int(os.environ.get("WORKERS") or len(os.sched_getaffinity(0)))


@contextlib.contextmanager
def writing(path):
    """Open a file for text under a temporary name, renamed once all is written; a failure leaves nothing."""
    path = Path(path)
    temporary = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "w", encoding="utf-8", newline="\n") as file:
            yield file
        temporary.replace(path)
    except OSError as error:
        raise SystemExit(f"{path} cannot be written: {error.strerror or error}.") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def read_lines(path):
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


def aligned(texts):
    """Yield tuples of lines, one of each text of a dictionary from name to lines; all have to have the same number."""
    for number, lines in enumerate(zip_longest(*texts.values()), 1):
        if None in lines:
            names = list(texts)
            ended, goes_on = names[lines.index(None)], next(n for n, line in zip(names, lines) if line is not None)
            raise SystemExit(f"{ended} ends before line {number} but {goes_on} goes on: they are not aligned.")
        yield lines


def write_aligned(texts):
    """Write texts, a dictionary from path to lines, which have to be aligned; return their number of lines."""
    number = 0
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(writing(path)) for path in texts]
        for row in aligned(texts):
            number += 1
            for file, line in zip(files, row):
                file.write(f"{line}\n")
    if not number:
        raise SystemExit(f"{next(iter(texts))} would be empty.")
    return number


def ranges(path, count):
    """Return up to ``count`` byte ranges ``(begin, end)`` that cover a file and begin at lines."""
    size = os.path.getsize(path)
    count = max(1, min(count, size // SMALLEST_RANGE))
    bounds = [0]
    with open(path, "rb") as file:
        for index in range(1, count):
            file.seek(size * index // count)
            file.readline()
            bounds.append(max(file.tell(), bounds[-1]))
    return list(zip(bounds, [*bounds[1:], size]))


def batches(path, begin, end):
    """Yield lists of lines of a byte range of a UTF-8 file; of the first range say now and then how far it is."""
    with open(path, "rb") as file:
        file.seek(begin)
        chunk = iter(lambda: file.readline() if file.tell() < end else b"", b"")
        reported = time.monotonic()
        while batch := [line.removesuffix(b"\n").decode("utf-8") for line in islice(chunk, BATCH)]:
            yield batch
            if begin == 0 and time.monotonic() > reported + SECONDS_BETWEEN_REPORTS:
                reported = time.monotonic()
                print(f"{path}: {100 * file.tell() // end}%", flush=True)


def in_parallel(task, path):
    """Return the results of ``task(begin, end, number)`` for byte ranges of a file, each in a process of its own.

    The processes end by themselves when this one is killed, which those of a pool do not.
    """
    context = multiprocessing.get_context("fork")

    def run(sender, *arguments):
        try:
            sender.send((task(*arguments), None))
        except SystemExit as error:
            sender.send((None, str(error)))
        except (OSError, UnicodeDecodeError) as error:
            sender.send((None, f"{path} cannot be read: {error}."))

    receivers = []
    for number, (begin, end) in enumerate(ranges(path, workers())):
        receiver, sender = context.Pipe(duplex=False)
        context.Process(target=run, args=(sender, begin, end, number), daemon=True).start()
        sender.close()
        receivers.append(receiver)
    results = []
    for receiver in receivers:
        try:
            result, message = receiver.recv()
        except EOFError as error:
            raise SystemExit(f"{path}: a process that read it was killed; is there enough memory?") from error
        if message:
            raise SystemExit(message)
        results.append(result)
    return results


def map_lines(function, source, target):
    """Write ``function(lines)`` for the lines of ``source`` to ``target``, in batches and on all cores.

    The function returns a list of as many lines as it got, each without line ends.
    """
    source, target = Path(source), Path(target)
    parts = target.with_name(f"{target.name}.parts")
    shutil.rmtree(parts, ignore_errors=True)
    try:
        parts.mkdir(parents=True)
    except OSError as error:
        raise SystemExit(f"{target} cannot be written: {error.strerror}.") from error

    def task(begin, end, number):
        with writing(parts / str(number)) as file:
            for batch in batches(source, begin, end):
                mapped = function(batch)
                if len(mapped) != len(batch):
                    raise SystemExit(f"{source}: {len(batch)} lines became {len(mapped)}, so {target} was not written.")
                file.writelines(f"{line}\n" for line in mapped)

    try:
        count = len(in_parallel(task, source))
        with writing(target) as file:
            for number in range(count):
                with open(parts / str(number), "rb") as part:
                    shutil.copyfileobj(part, file.buffer)
    finally:
        shutil.rmtree(parts, ignore_errors=True)
