"""scripts/prepare/bpe.py gives the codes and the text of subword-nmt."""

import io
import random
import re
import sys

import pytest
from subword_nmt.apply_bpe import BPE
from subword_nmt.learn_bpe import learn_bpe

from common import lines
from prepare import bpe, clean_pairs

TEXT = ["", "haus hausboot boot", " haus  boot ", "bootshaus\u2028haus &apos;s \u4e2d", "\r", "h au s" * 9]


LIMITS = ["--languages", "en", "de", "--longest", "40"]


def run(monkeypatch, module, *words):
    """Call a script's main function with these arguments."""
    monkeypatch.setattr(sys, "argv", [module.__name__, *map(str, words)])
    module.main()


@pytest.fixture
def texts(tmp_path):
    """Two tokenised texts."""
    draw = random.Random(1)
    words = ["".join(draw.choices("abdehorst\u00fc", k=draw.randint(1, 9))) for _ in range(300)]
    for name in ("pairs.en", "pairs.de"):
        text = [" ".join(draw.choices(words, k=draw.randint(0, 20))) for _ in range(200)]
        (tmp_path / name).write_text("".join(f"{line}\n" for line in text))
    return [tmp_path / "pairs.en", tmp_path / "pairs.de"]


@pytest.fixture
def codes(texts, tmp_path):
    bpe.learn(texts, 120, tmp_path / "codes")
    return tmp_path / "codes"


def test_codes_of_two_texts(texts, codes):
    expected = io.StringIO()
    learn_bpe(io.StringIO("".join(text.read_text() for text in texts)), expected, 120)
    assert codes.read_text() == expected.getvalue()


def test_codes_of_words_with_the_mark_for_their_end(tmp_path):
    """In subword-nmt such characters are the mark too."""
    (tmp_path / "text").write_text("ab b</w>b a</w> ab a</w> b</w>b\n" * 3)
    bpe.learn([tmp_path / "text"], 9, tmp_path / "codes")
    expected = io.StringIO()
    learn_bpe(io.StringIO((tmp_path / "text").read_text()), expected, 9)
    assert (tmp_path / "codes").read_text() == expected.getvalue()


@pytest.mark.parametrize("remembered", [0, 20, 1000])
def test_text(monkeypatch, texts, codes, tmp_path, remembered):
    """With few words remembered the others are cut again each time."""
    monkeypatch.setattr(bpe, "REMEMBERED", remembered)
    monkeypatch.setenv("WORKERS", "2")
    source = tmp_path / "source"
    source.write_text(texts[1].read_text() + "".join(f"{line}\n" for line in TEXT), newline="\n")
    bpe.apply(codes, source, tmp_path / "target")
    with open(codes, encoding="utf-8") as file:
        segmenter = BPE(file)
    expected = [segmenter.process_line(line) for line in lines.read_lines(source)]
    assert list(lines.read_lines(tmp_path / "target")) == expected


def test_training_pairs_are_cleaned_as_clean_pairs_does(monkeypatch, texts, codes, tmp_path):
    """The same as after ``apply``, whose output need not be kept for it."""
    monkeypatch.setenv("WORKERS", "2")
    monkeypatch.setattr(lines, "BATCH", 30)
    for text in texts:
        bpe.apply(codes, text, tmp_path / f"bpe.{text.suffix[1:]}")
    run(monkeypatch, clean_pairs, tmp_path / "bpe", "--train", tmp_path / "expected", *LIMITS)
    run(monkeypatch, bpe, "train", codes, tmp_path / "pairs", tmp_path / "train", *LIMITS)
    for text in texts:
        kept = (tmp_path / f"train.{text.suffix[1:]}").read_text()
        assert kept == (tmp_path / f"expected.{text.suffix[1:]}").read_text()
        assert 10 < kept.count("\n") < 100


def test_no_pair_that_is_fit(monkeypatch, codes, tmp_path):
    for language, text in (("en", "a\n\n"), ("de", "b e d\nb\n")):
        (tmp_path / f"pairs.{language}").write_text(text)
    faults = "1 of lengths beyond 1 to 1.5, 1 with an empty side"
    with pytest.raises(SystemExit, match=re.escape(f"no sentence pair is left ({faults})")):
        run(monkeypatch, bpe, "train", codes, tmp_path / "pairs", tmp_path / "train", *LIMITS)
    assert not list(tmp_path.glob("train*"))


def test_at_most_so_many_words_are_remembered(monkeypatch, codes):
    monkeypatch.setenv("WORKERS", "2")
    monkeypatch.setattr(bpe, "REMEMBERED", 6)
    segments = bpe.Segments(codes)
    segments.line("a b d e h o")
    assert len(segments) == 3 and not segments.bpe.cache
