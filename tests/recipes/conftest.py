"""The recipes' data, prepared once in a run of the tests from archives in the shape of the real ones."""

import shutil
from pathlib import Path

import pytest

from support import archives, prepare


@pytest.fixture(scope="session")
def iwslt14_archive(shared) -> Path:
    """A small de-en.tgz."""
    return shared("iwslt14-archive", lambda folder: archives.iwslt14(folder / "de-en.tgz")) / "de-en.tgz"


@pytest.fixture(scope="session")
def iwslt14(shared, iwslt14_archive) -> Path:
    """The output folder of one whole run on it."""
    words = ("--archive", iwslt14_archive, "--any-size")
    return shared("iwslt14", lambda out: prepare.succeed("iwslt14_de_en", *words, "--out", out))


@pytest.fixture(scope="session")
def wmt14_archives(shared) -> Path:
    """A folder with the five archives."""
    return shared("wmt14-archives", archives.wmt14)


@pytest.fixture(scope="session")
def wmt14(shared, wmt14_archives, tmp_path_factory) -> Path:
    """The output folder of one whole run on them, three of them by mirror or one by one."""

    def fill(out: Path) -> None:
        given, mirror = tmp_path_factory.mktemp("given"), tmp_path_factory.mktemp("mirror")
        for path in wmt14_archives.iterdir():
            shutil.copy(path, mirror if path.name in ("dev.tgz", "test-full.tgz") else given)
        (given / "training-parallel-nc-v9.tgz").rename(mirror / "training-parallel-nc-v9.tgz")
        words = ("--archive", given, "--archive", mirror / "training-parallel-nc-v9.tgz", "--mirror", mirror.as_uri())
        prepare.succeed("wmt14_en_de", *words, "--out", out, "--any-size")

    return shared("wmt14", fill)
