"""scripts/prepare/preprocess.py writes what fairseq-preprocess writes."""

import os
import random
import subprocess
import sys

import pytest

from support.models import REPOSITORY

OURS = [str(REPOSITORY / "scripts/prepare/preprocess.py")]
FAIRSEQS = ["-m", "fairseq_cli.preprocess"]


@pytest.fixture
def corpus(tmp_path):
    """Text with empty lines, several spaces, line ends of all kinds, words beyond the dictionary, and its own marks."""
    draw = random.Random(1)
    words = [f"w{number}@@" for number in range(300)] + ["<unk>", "</s>", "\u4e2d", "\u2028", "\x85", "  "]
    for split, size in (("train", 5000), ("valid", 7), ("test", 9)):
        for language in ("en", "de"):
            lines = [" ".join(draw.choices(words, k=draw.randint(0, 12))) for _ in range(size)]
            ends = draw.choices(["\n", "\r\n", "\r"], weights=[98, 1, 1], k=size)
            text = "".join(map("".join, zip(lines, ends)))
            (tmp_path / f"{split}.{language}").write_text(text, encoding="utf-8", newline="")
    return tmp_path


def preprocess(program, corpus, name, *words):
    prefixes = [word for split in ("train", "valid", "test") for word in (f"--{split}pref", corpus / split)]
    command = [sys.executable, *program, "-s", "en", "-t", "de", "--destdir", corpus / name, *prefixes, *words]
    environment = {**os.environ, "WORKERS": "2"}
    subprocess.run(list(map(str, command)), check=True, env=environment, stdout=subprocess.PIPE, timeout=300)
    files = {path.name: path.read_bytes() for path in (corpus / name).iterdir()}
    said = files.pop("preprocess.log").decode().split("\n", 1)[1].replace(f"/{name}", "/out")
    return files, said


@pytest.mark.parametrize("words", ["--joined-dictionary", "--nwordssrc 100 --thresholdtgt 1200"])
def test_equals_fairseq(corpus, words):
    expected, expected_log = preprocess(FAIRSEQS, corpus, "fairseq", *words.split())
    found, log = preprocess(OURS, corpus, "ours", *words.split())
    assert sorted(found) == sorted(expected) and len(found) == 14
    for name, contents in expected.items():
        assert found[name] == contents, name
    assert log == expected_log and "% replaced (by <unk>)" in log


def test_text_without_numbers_is_fairseqs_own(corpus):
    expected, _ = preprocess(FAIRSEQS, corpus, "fairseq", "--dataset-impl", "raw")
    assert preprocess(OURS, corpus, "ours", "--dataset-impl", "raw")[0] == expected
