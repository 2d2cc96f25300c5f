"""scripts/corpus.py keeps held-out text out of train, splits the same way twice, and refuses bad text clearly."""

import json
import subprocess
import sys

import pytest

from support.models import REPOSITORY

SCRIPTS = REPOSITORY / "scripts"


@pytest.fixture
def corpus(import_script):
    """The script as a module."""
    return import_script("quickstart.corpus")


def run(tmp_path, source, target, *options):
    """Run the script on two files of bytes; returns the finished process."""
    (tmp_path / "own.de").write_bytes(source)
    (tmp_path / "own.en").write_bytes(target)
    command = [sys.executable, SCRIPTS / "quickstart/corpus.py", "--out", tmp_path / "out", "--download", tmp_path]
    command += ["--source-text", tmp_path / "own.de", "--target-text", tmp_path / "own.en", *options]
    return subprocess.run(command, capture_output=True, text=True)


def letters(number):
    """A word that differs for every number, since digits do not tell texts apart."""
    return "".join(chr(ord("a") + int(digit)) for digit in str(number))


def text(word, count):
    """``count`` distinct lines as bytes."""
    return "".join(f"{word} {letters(number)} here\n" for number in range(count)).encode()


def read(folder, split, language):
    return (folder / f"{split}.{language}").read_text(encoding="utf-8").splitlines()


def test_every_pair_lands_in_one_split(tmp_path):
    done = run(tmp_path, text("wort", 100), text("word", 100))
    assert done.returncode == 0, done.stderr
    splits = {
        split: [read(tmp_path / "out", split, lang) for lang in ("de", "en")] for split in ("train", "valid", "test")
    }
    assert {split: len(sources) for split, (sources, _) in splits.items()} == {"train": 80, "valid": 10, "test": 10}
    for sources, targets in splits.values():
        assert [line.replace("wort", "word") for line in sources] == targets
    assert len({line for sources, _ in splits.values() for line in sources}) == 100


def test_the_description_holds_counts_and_checksums(tmp_path):
    run(tmp_path, text("wort", 100), text("word", 100))
    files = json.loads((tmp_path / "out" / "corpus.json").read_text())["files"]
    assert files["train.de"]["lines"] == 80 and len(files["test.en"]["sha256"]) == 64 and len(files) == 6


def test_the_split_depends_on_the_seed_alone(tmp_path):
    results = []
    for seed in ("1", "1", "2"):
        run(tmp_path, text("wort", 100), text("word", 100), "--seed", seed)
        results.append(read(tmp_path / "out", "test", "de"))
    assert results[0] == results[1] != results[2]


def test_pairs_that_share_either_side_are_kept_once(corpus):
    pairs = [
        ("Das Licht ist an.", "The light is on."),
        ("Das Licht ist an.", "The lamp is on."),
        ("Die Lampe brennt.", "The light is on."),
        ("das licht  IST an", "Another text altogether."),
        ("Ein ganz anderer Text.", "the light is on!"),
        ("Der Kanal 1 ist offen.", "Channel 1 is open."),
        ("Der Kanal 2 ist offen.", "Channel 2 is open."),
    ]
    assert corpus.unique_pairs(pairs) == [pairs[0], pairs[5]]


def test_untranslated_and_overlong_pairs_go(corpus):
    assert corpus.unique_pairs([("Home Assistant OS", "Home Assistant OS"), ("zu " * 300, "too long")]) == []


def test_duplicates_never_leak_into_the_held_out_sets(tmp_path, corpus):
    source = text("wort", 100) + text("Wort", 100) + text("anderes", 100)
    target = text("word", 100) + text("other", 100) + text("WORD", 100)
    done = run(tmp_path, source, target)
    assert done.returncode == 0, done.stderr
    for language in ("de", "en"):
        keys = [
            corpus.key(line) for split in ("train", "valid", "test") for line in read(tmp_path / "out", split, language)
        ]
        assert len(keys) == len(set(keys))


def test_text_is_put_on_one_line(corpus):
    assert corpus.tidy(" a\tb\u2028c\x00d\r\n") == "a b c d"
    assert corpus.tidy("u\u0308") == "\u00fc"


@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        (b"a\nb\n", b"a\n", ["own.de has 2 lines", "own.en has 1", "line 2 has no partner"]),
        (b"", b"a\n", ["--source-text", "own.de is empty"]),
        (b"a\n", b" \n\n", ["--target-text", "own.en is empty"]),
        (b"a\n\nc\n", b"a\nb\nc\n", ["--source-text", "own.de, line 2 is empty"]),
        (b"a\nb\nc\n", b"a\nb\n\xfcber\n", ["--target-text", "own.en, line 3 is not UTF-8"]),
        (text("wort", 19), text("word", 19), ["19 distinct pairs", "at least 20"]),
    ],
    ids=["unequal", "empty source", "blank target", "empty line", "bad UTF-8", "too few"],
)
def test_bad_text_is_refused_in_one_sentence(tmp_path, source, target, words):
    done = run(tmp_path, source, target)
    assert done.returncode and len(done.stderr.splitlines()) == 1, done.stderr
    for word in words:
        assert word in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_refused_in_one_sentence(tmp_path):
    (tmp_path / "out").touch()
    done = run(tmp_path, text("wort", 100), text("word", 100))
    assert done.returncode == 1
    assert done.stderr == f"--out: {tmp_path / 'out'} cannot be made a folder to write in: File exists.\n"


def test_a_missing_file_and_a_lone_option_are_refused(tmp_path):
    done = run(tmp_path, b"a\n", b"a\n", "--source-text", "no/such/file")
    assert done.returncode and done.stderr.startswith("--source-text: cannot read no/such/file")
    done = run(tmp_path, b"a\n", b"a\n", "--target-text", "")
    assert done.returncode and "give both or neither" in done.stderr
