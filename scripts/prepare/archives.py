"""Take single files out of tar archives as they were downloaded."""

import contextlib
import shutil
import tarfile
import zlib
from pathlib import Path


@contextlib.contextmanager
def unpacking(folder):
    """Give an empty folder for members of archives, and remove it at the end."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def extract(archive, targets):
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


def extract_all(archives, targets):
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
