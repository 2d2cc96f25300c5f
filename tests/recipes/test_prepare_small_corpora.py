"""examples/small_corpora/prepare.sh on raw, tokenised and segmented text, and what it refuses."""

import gzip
import json

import pytest

from support import prepare
from support.corpora import WORDS

RECIPE = "small_corpora"
SIZES = {"train": 70, "valid": 6, "test": 8}
LANGUAGES = ("fr", "nl")


def line(number, language, kind):
    """A sentence as a text of this kind has it."""
    words = [WORDS[(number * 3 + place) % len(WORDS)] for place in range(2 + number % 5)]
    if language == "nl":
        words.reverse()
    if kind == "raw":
        return " ".join(words).capitalize() + "."
    if kind == "segmented":
        words = [f"{word[:3]}@@ {word[3:]}" for word in words]
    return " ".join(words) + " ."


def corpus(folder, kind):
    """Write a corpus, its source gzipped, with an empty line in the training text and a carriage return in another."""
    folder.mkdir()
    for split, count in SIZES.items():
        for language in LANGUAGES:
            lines = [line(number, language, kind) for number in range(count)]
            if split == "train":
                lines[5] = "" if language == "nl" else lines[5]
                lines[6] = lines[6].replace(" ", "\r", 1) if language == "fr" else lines[6]
            data = "".join(f"{text}\n" for text in lines).encode()
            if language == "fr":
                (folder / f"{split}.{language}.gz").write_bytes(gzip.compress(data))
            else:
                (folder / f"{split}.{language}").write_bytes(data)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["raw", "tokenised", "segmented"])
def test_prepare(kind, tmp_path):
    """What comes out is lower-cased text in pieces, data of it, and references without them; and it is said."""
    out = tmp_path / "out"
    words = ("--raw", corpus(tmp_path / "text", kind), "--out", out)
    variables = {"LANGUAGES": " ".join(LANGUAGES), "BPE_OPERATIONS": "20"}
    done = prepare.run(RECIPE, *words, **variables)
    assert done.returncode == 0, done.stderr
    for split, count in SIZES.items():
        numbers = [number for number in range(count) if (split, number) != ("train", 5)]
        for language in LANGUAGES:
            pieces = prepare.read(out / "bpe" / f"{split}.{language}")
            whole = [text.replace("@@ ", "") for text in pieces]
            assert whole == [line(number, language, "tokenised") for number in numbers] and whole != pieces
            assert prepare.binarised(out / "data-bin" / f"{split}.fr-nl.{language}.idx") == len(numbers)
            if split != "train":
                expected = [line(number, language, "raw").lower() for number in numbers]
                assert prepare.read(out / "reference" / f"{split}.{language}") == expected
    if kind == "segmented":
        assert prepare.read(out / "bpe" / "test.nl") == [line(number, "nl", kind) for number in range(SIZES["test"])]
    said = json.loads((out / "prepare.json").read_text())
    assert (said["languages"], said["lines"]["train"]) == (list(LANGUAGES), SIZES["train"] - 1)
    assert (said["references"], said["bpe_operations"]) == {
        "raw": ("original", 20),
        "tokenised": ("detokenised", 20),
        "segmented": ("detokenised", 0),
    }[kind]
    assert said["published_split"] is None
    assert said["lower_case"] is (kind != "segmented"), "segmented text is taken as it is"

    before = prepare.times(out)
    assert prepare.run(RECIPE, *words, **variables).returncode == 0
    assert prepare.times(out) == before


@pytest.mark.parametrize(
    "words, variables, sentence",
    [
        ([], {}, "prepare: give the folder with the text: --raw DIR (see --help)."),
        (["--archive", "/dev/null"], {}, "there is no archive of this recipe; give the folder with the text: --raw"),
        (["--raw", "/nowhere"], {}, "prepare: --raw: /nowhere is not a folder."),
        (["--raw", "/"], {"LANGUAGES": "de"}, "prepare: LANGUAGES must be two names such as 'en de', not 'de'."),
        (["--raw", "/"], {"LANGUAGES": "de de"}, "prepare: LANGUAGES must be two names such as 'en de', not 'de de'."),
    ],
)
def test_refusals(words, variables, sentence):
    """What cannot work ends with one sentence."""
    assert sentence in prepare.refusal(RECIPE, *words, **variables)


@pytest.mark.slow
def test_one_side_in_pieces(tmp_path):
    """BPE's marks on one side alone are refused: the other side's text would be divided once more."""
    text = corpus(tmp_path / "text", "segmented")
    for split, count in SIZES.items():
        lines = [line(number, "fr", "tokenised") for number in range(count)]
        (text / f"{split}.fr.gz").write_bytes(gzip.compress("".join(f"{words}\n" for words in lines).encode()))
    said = prepare.refusal(RECIPE, "--raw", text, "--out", tmp_path / "out", LANGUAGES=" ".join(LANGUAGES))
    assert f"prepare: --raw: of {text} only train.nl, valid.nl, test.nl has BPE's marks (@@); segment all" in said
