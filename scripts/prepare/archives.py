"""Take single files out of tar archives as they were downloaded, and sentences out of NIST's SGML and XML."""

import contextlib
import re
import shutil
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from common import lines

SEGMENT = re.compile(r"<seg\s[^>]*>(.*)</seg>", re.IGNORECASE)


@contextlib.contextmanager
def unpacking(folder: Path) -> Iterator[Path]:
    """Give an empty folder for members of archives, and remove it at the end."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def extract(archive: Path, targets: Mapping[str, Path]) -> set[str]:
    """Write members of an archive to files, in one pass; return the names that were found.

    Args:
        archive: path of a tar archive, gzipped or not.
        targets: dictionary from the last part of a member's name to the path to write.

    Raises:
        SystemExit: the archive is no archive, is truncated or damaged, or a file cannot be written.
    """
    found = set()
    try:
        with tarfile.open(archive, "r|*") as tar:
            for member in tar:
                name = Path(member.name).name
                if member.isfile() and name in targets and name not in found:
                    found.add(name)
                    targets[name].parent.mkdir(parents=True, exist_ok=True)
                    with open(targets[name], "wb") as file:
                        shutil.copyfileobj(tar.extractfile(member), file)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise SystemExit(f"{archive} is truncated or damaged, or no tar archive: {error}. Get it again.") from error
    except OSError as error:
        raise SystemExit(f"{archive} cannot be unpacked: {error.strerror or error}.") from error
    return found


def extract_all(archives: Iterable[Path], targets: Mapping[str, Path]) -> None:
    """Write members of several archives to files; every member has to be in one of them.

    Args:
        archives: paths of tar archives.
        targets: as for :func:`extract`.
    """
    missing = dict(targets)
    for archive in archives:
        found = extract(archive, missing)
        missing = {name: path for name, path in missing.items() if name not in found}
    if missing:
        raise SystemExit(f"{', '.join(map(str, archives))}: there is no {next(iter(missing))} in the archive.")


def read_segments(path: Path) -> Iterator[str]:
    """Yield the sentences of a test set, one ``<seg id="1">text</seg>`` a line.

    Entities such as ``&amp;`` stay as they stand, as in the published recipes.
    """
    for number, line in enumerate(lines.read_lines(path), 1):
        if "<seg" in line:
            match = SEGMENT.search(line)
            if not match:
                raise SystemExit(f"{path}, line {number}: a <seg> without its </seg> on the same line.")
            yield match[1].strip()
