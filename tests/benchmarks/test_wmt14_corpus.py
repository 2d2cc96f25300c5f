"""benchmarks/wmt14_corpus.py: archives that the recipe can read, of the asked size, the same for the same seed."""

import gzip
import hashlib
import sys
import tarfile
from collections import Counter

import pytest

from benchmarks import wmt14_corpus
from prepare import wmt14
from support import commands

PAIRS = 12_000


@pytest.fixture(autouse=True)
def few_words(monkeypatch):
    monkeypatch.setattr(wmt14_corpus, "TYPES", 90_000)


@pytest.fixture
def archives(tmp_path):
    wmt14_corpus.write(tmp_path / "archives", PAIRS, 1, None)
    return tmp_path / "archives"


def members(path):
    with tarfile.open(path) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}


def digests(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_the_recipe_reads_all_pairs(archives, tmp_path):
    wmt14.write_originals(sorted(archives.iterdir()), tmp_path / "plain")
    lines = {path.name: path.read_bytes().count(b"\n") for path in (tmp_path / "plain").iterdir()}
    sizes = {"pairs": PAIRS, "valid": 3000, "test": 3003}
    assert lines == {f"{split}.{language}": size for split, size in sizes.items() for language in ("en", "de")}


def test_shape_of_the_text(archives):
    texts = members(archives / "training-parallel-commoncrawl.tgz")
    english, german = (texts[f"commoncrawl.de-en.{la}"].decode().removesuffix("\n").split("\n") for la in ("en", "de"))
    counts = [(len(source.split()), len(target.split())) for source, target in zip(english, german)]
    assert 22 < sum(source for source, _ in counts) / len(counts) < 30
    assert max(source for source, _ in counts) > 150
    empty = sum(not min(pair) for pair in counts)
    unfit = sum(max(pair) > 1.5 * min(pair) for pair in counts)
    assert 0.005 * len(counts) < empty < 0.05 * len(counts) < unfit < 0.2 * len(counts)
    assert all(any(odd in line for line in english) for odd in ("&amp;", "\u2028", "\x85", "\U0001f600", "x" * 1200))
    words = Counter(word for line in german for word in line.split())
    (_, first), *_, (_, last) = words.most_common()
    assert first > 0.03 * words.total() and last == 1 and len(words) > 20_000


def test_a_seed_decides_every_byte(archives, tmp_path):
    wmt14_corpus.write(tmp_path / "again", PAIRS, 1, None)
    wmt14_corpus.write(tmp_path / "other", PAIRS, 2, None)
    same, other = digests(tmp_path / "again"), digests(tmp_path / "other")
    assert same == digests(archives)
    assert all(same[name] != other[name] for name in same)


def test_given_test_sets(tmp_path):
    (tmp_path / "sets").mkdir()
    for name in ("newstest2013", "newstest2014"):
        (tmp_path / "sets" / f"{name}.en").write_text(f"{name} & more\n")
        (tmp_path / "sets" / f"{name}.de.gz").write_bytes(gzip.compress(b"ja\n"))
    wmt14_corpus.write(tmp_path / "out", 100, 1, tmp_path / "sets")
    test = members(tmp_path / "out" / "test-full.tgz")
    assert b'<seg id="1">newstest2014 & more</seg>\n' in test["test-full/newstest2014-deen-src.en.sgm"]
    assert members(tmp_path / "out" / "dev.tgz")["dev/newstest2013.de"] == b"ja\n"


@pytest.mark.parametrize("words", [["--pairs", "99"], ["--pairs", "1.5"], ["--seed", "-1"]])
def test_refused_numbers(tmp_path, words):
    assert f"'{words[1]}' is not a whole number" in commands.refusal(wmt14_corpus.main, "--out", tmp_path, *words)


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(sys, "argv", ["wmt14_corpus.py", "--out", str(tmp_path / "file" / "out")])
    assert "Not a directory" in wmt14_corpus.main()
