"""scripts/quickstart/corpus.py keeps held-out text out of train, splits the same way twice, and says what it drops."""

import json
from pathlib import Path

import pytest

from quickstart import corpus

LANGUAGES = ("de", "en")


def letters(number: int) -> str:
    """A word that differs for every number, since digits do not tell texts apart."""
    return "".join(chr(ord("a") + int(digit)) for digit in str(number))


def text(word: str, count: int) -> bytes:
    """``count`` distinct lines."""
    return "".join(f"{word} {letters(number)} here\n" for number in range(count)).encode()


def make(folder: Path, source: bytes, target: bytes) -> Path:
    """Make a corpus of two files; its folder."""
    (folder / "own.de").write_bytes(source)
    (folder / "own.en").write_bytes(target)
    pairs = corpus.read_text_pairs(folder / "own.de", folder / "own.en")
    corpus.make(pairs, LANGUAGES, folder / "out", "own")
    return folder / "out"


def read(folder: Path, split: str, language: str) -> list[str]:
    return (folder / f"{split}.{language}").read_text(encoding="utf-8").splitlines()


def test_every_pair_lands_in_one_split(tmp_path):
    out = make(tmp_path, text("wort", 100), text("word", 100))
    splits = {split: [read(out, split, language) for language in LANGUAGES] for split in ("train", "valid", "test")}
    assert {split: len(sources) for split, (sources, _) in splits.items()} == {"train": 80, "valid": 10, "test": 10}
    for sources, targets in splits.values():
        assert [line.replace("wort", "word") for line in sources] == targets
    assert len({line for sources, _ in splits.values() for line in sources}) == 100


def test_the_description_holds_counts_and_checksums(tmp_path):
    out = make(tmp_path, text("wort", 100) + b"\n", text("word", 100) + b"a b c\n")
    described = json.loads((out / "corpus.json").read_text())
    assert described["files"]["train.de"]["lines"] == 80 and len(described["files"]["test.en"]["sha256"]) == 64
    assert len(described["files"]) == 6
    assert described["origin"] == "own" and described["dropped"] == {"with an empty side": 1}


def test_the_split_depends_on_the_seed_alone():
    pairs = [(letters(number), letters(number + 1)) for number in range(100)]
    assert corpus.split_pairs(pairs, 10, 1) == corpus.split_pairs(pairs, 10, 1) != corpus.split_pairs(pairs, 10, 2)


def test_pairs_that_share_either_side_are_kept_once():
    pairs = [
        ("Das Licht ist an.", "The light is on."),
        ("Das Licht ist an.", "The lamp is on."),
        ("Die Lampe brennt.", "The light is on."),
        ("das licht  IST an", "Another text altogether."),
        ("Ein ganz anderer Text.", "the light is on!"),
        ("Der Kanal 1 ist offen.", "Channel 1 is open."),
        ("Der Kanal 2 ist offen.", "Channel 2 is open."),
    ]
    assert corpus.clean(pairs) == ([pairs[0], pairs[5]], {"that repeat an earlier source or target": 5})


@pytest.mark.parametrize(
    "first, second",
    [
        ("वह जाता है", "वह जाती है"),  # he goes, she goes
        ("दिन", "दान"),  # day, donation
        ("நாடு", "நாடி"),
        ("كَتَبَ", "كُتِبَ"),  # he wrote, it was written
    ],
)
def test_combining_marks_tell_words_apart(first, second):
    pairs = [(first, "one thing"), (second, "another")]
    assert corpus.clean(pairs) == (pairs, {})
    assert corpus.key(f"{first} 1!") == corpus.key(first)


def test_unfit_pairs_go_and_are_counted(capsys, tmp_path):
    unfit = [("Home Assistant OS", "home assistant OS!"), ("zu " * 300, "too long"), ("", "empty"), ("leer", "")]
    fit = [(f"wort {letters(number)}", f"word {letters(number)}") for number in range(20)]
    corpus.make([*unfit, *fit], LANGUAGES, tmp_path, "own")
    assert capsys.readouterr().out.splitlines() == [
        "24 pairs from own; dropped 2 with an empty side, 1 with the same text on both sides, "
        "1 with more than 500 characters.",
        "Left: 16 train, 2 valid, 2 test.",
    ]


def test_duplicates_never_leak_into_the_held_out_sets(tmp_path):
    source = text("wort", 100) + text("Wort", 100) + text("anderes", 100)
    target = text("word", 100) + text("other", 100) + text("WORD", 100)
    out = make(tmp_path, source, target)
    for language in LANGUAGES:
        keys = [corpus.key(line) for split in ("train", "valid", "test") for line in read(out, split, language)]
        assert len(keys) == len(set(keys))


def test_text_is_put_on_one_line():
    assert corpus.tidy(" a\tb\u2028c\x00d\r\n") == "a b c d"
    assert corpus.tidy("u\u0308") == "\u00fc"


@pytest.mark.parametrize(
    ("source", "target", "sentence"),
    [
        (b"a\nb\n", b"a\n", "--target-text .*own.en ends before line 2 but --source-text .*own.de goes on"),
        (b"", b"a\n", "--source-text .*own.de ends before line 1"),
        (b"a\nb\nc\n", b"a\nb\n\xfcber\n", "--target-text: .*own.en, line 3 is not UTF-8"),
        (text("wort", 19), text("word", 19), "own: 19 distinct pairs of 19 left; it takes 20"),
    ],
    ids=["unequal", "empty source", "bad UTF-8", "too few"],
)
def test_bad_text_is_refused_in_one_sentence(tmp_path, source, target, sentence):
    with pytest.raises(SystemExit, match=sentence):
        make(tmp_path, source, target)
    assert not (tmp_path / "out").exists()


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(SystemExit, match=r"--source-text: .*missing cannot be read: No such file"):
        corpus.read_text_pairs(tmp_path / "missing", tmp_path / "missing")


def test_a_folder_that_cannot_be_written_is_refused_in_one_sentence(tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(SystemExit, match=r"--out: .*out cannot be made a folder to write in: File exists"):
        make(tmp_path, text("wort", 100), text("word", 100))
