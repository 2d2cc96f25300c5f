"""scripts/segment.py keeps the two sides of a corpus aligned, and writes whole files or none."""

import subprocess
import sys

import pytest
import sentencepiece

from support.models import REPOSITORY

SCRIPT = REPOSITORY / "scripts" / "segment.py"
PIPES = {"capture_output": True, "text": True}
SPLITS = {"train": 40, "valid": 6, "test": 5}
# Characters that Python takes for line ends, and a line end of Windows: none of them ends a sentence.
ODD = {3: "\u2028", 7: "\x85", 9: "\x0c", 11: "\r"}


def corpus(folder):
    """Text whose two sides have odd characters in different lines."""
    folder.mkdir(exist_ok=True)
    for split, count in SPLITS.items():
        for shift, language in ((0, "xx"), (1, "yy")):
            lines = [f"{language} says {number % 9}{ODD.get(number + shift, ' ')}times" for number in range(count)]
            (folder / f"{split}.{language}").write_bytes("".join(f"{line}\n" for line in lines).encode())
    return folder


def segment(folder, out, *words):
    """Run the script; status and what it said."""
    command = [sys.executable, SCRIPT, "--corpus", folder, "--languages", "xx", "yy"]
    run = subprocess.run([*command, "--vocabulary", "40", "--out", out, *words], capture_output=True, text=True)
    return run.returncode, run.stderr


def test_lines_stay_aligned(tmp_path):
    """As many lines as before, each the pieces of its sentence; nothing else is in the folder."""
    assert segment(corpus(tmp_path / "text"), tmp_path / "pieces") == (0, "")
    for split, count in SPLITS.items():
        for language in ("xx", "yy"):
            lines = (tmp_path / "pieces" / f"{split}.{language}").read_text().split("\n")
            assert len(lines) == count + 1 and lines[-1] == ""
            for number, line in enumerate(lines[:-1]):
                words = "".join(line.split(" ")).replace("\u2581", " ").replace("\x85", " ")  # which stays in a piece
                assert words.strip() == f"{language} says {number % 9} times"
    names = {f"{split}.{language}" for split in SPLITS for language in ("xx", "yy")}
    made = {path.name for path in (tmp_path / "pieces").iterdir()}
    assert made == {*names, "sentencepiece.model", "sentencepiece.vocab"}


@pytest.mark.parametrize(
    "name, content, sentence",
    [
        ("test.yy", None, r"test.yy cannot be read: No such file or directory."),
        ("train.xx", b"one line\n", r"train.xx ends before line 2 but"),
        ("valid.yy", b"1\n2\n\xe4\n4\n5\n6\n", r"valid.yy, line 3 is not UTF-8"),
    ],
)
def test_a_bad_text_is_named_before_anything_is_written(tmp_path, name, content, sentence):
    path = corpus(tmp_path / "text") / name
    path.unlink() if content is None else path.write_bytes(content)
    status, said = segment(tmp_path / "text", tmp_path / "pieces")
    assert status == 1 and sentence in said and said.count("\n") == 1
    assert not (tmp_path / "pieces").exists()


def test_an_empty_text_and_impossible_folders(tmp_path):
    """One sentence each."""
    folder = corpus(tmp_path / "text")
    sentence = "--out: /dev/null/x cannot be made a folder to write in: Not a directory.\n"
    assert segment(folder, "/dev/null/x") == (1, sentence)
    status, said = segment(folder, tmp_path / "pieces", "--vocabulary", "3")
    assert status == 1 and said.startswith("--vocabulary: SentencePiece could not make 3 pieces from ")
    status, said = segment(folder, tmp_path / "pieces", "--vocabulary", str(10**17))
    assert status == 1 and said.startswith("--vocabulary: SentencePiece could not make 1") and said.count("\n") == 1
    for language in ("xx", "yy"):
        (folder / f"test.{language}").write_text("")
    sentence = f"{folder}/test.xx and {folder}/test.yy hold no pair of sentences.\n"
    assert segment(folder, tmp_path / "pieces") == (1, sentence)
    for language in ("xx", "yy"):
        (folder / f"test.{language}").write_text(" \n\n")
    assert segment(folder, tmp_path / "pieces") == (1, sentence)


def test_the_corpus_is_not_overwritten(tmp_path):
    """By whatever path its folder is named; nothing is written there."""
    folder = corpus(tmp_path / "text")
    (tmp_path / "link").symlink_to(folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for out in (folder, f"{folder}/", tmp_path / "link"):
        sentence = f"--out: {folder}/train.xx is read, and would be overwritten; name another folder.\n"
        assert segment(folder, out) == (1, sentence)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["--languages", "xx", "xx"], "--languages: both are xx; give two."),
        (["--longest", "-1"], "argument --longest: '-1' is not a whole number of at least 1"),
        (["--ratio", "nan"], "argument --ratio: 'nan' is not a number of at least 1"),
        (["--vocabulary", "0"], "argument --vocabulary: '0' is not a whole number of at least 1"),
    ],
)
def test_a_bad_option_is_named(tmp_path, words, sentence):
    status, said = segment(corpus(tmp_path / "text"), tmp_path / "pieces", *words)
    assert status == 2 and sentence in said
    assert not (tmp_path / "pieces").exists()


def test_unfit_training_pairs_are_dropped_and_counted(tmp_path):
    """A pair with an empty side, a long one and an uneven one; held-out text keeps every line."""
    folder = corpus(tmp_path / "text")
    for split in ("train", "valid"):
        sides = [(folder / f"{split}.{la}").read_bytes().decode().split("\n") for la in ("xx", "yy")]
        sides[0][1], sides[1][2], sides[0][4], sides[1][4] = "", "yy " * 99, "xx says " * 99, "yy says " * 99
        for language, lines in zip(("xx", "yy"), sides):
            (folder / f"{split}.{language}").write_bytes("\n".join(lines).encode())
    command = [sys.executable, SCRIPT, "--corpus", folder, "--languages", "xx", "yy", "--out", tmp_path / "out"]
    run = subprocess.run([*map(str, command), "--vocabulary", "40", "--longest", "150", "--ratio", "9"], **PIPES)
    assert run.returncode == 0, run.stderr
    assert "train: dropped 1 with an empty side, 1 of lengths beyond 1 to 9, 1 of more than 150 tokens." in run.stdout
    for split, count in (("train", SPLITS["train"] - 3), ("valid", SPLITS["valid"])):
        assert (tmp_path / "out" / f"{split}.yy").read_text().count("\n") == count


def test_what_fails_leaves_the_old_pieces_with_their_own_model(tmp_path):
    """A new model beside old text would translate wrongly."""
    folder = corpus(tmp_path / "text")
    segment(folder, tmp_path / "out")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    status, said = segment(folder, tmp_path / "out", "--vocabulary", "25", "--longest", "1")
    assert status == 1 and "no pair is left" in said
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_what_cannot_be_replaced_is_said_before_anything_is(tmp_path):
    """And what a symbolic link names is written, not the link."""
    folder = corpus(tmp_path / "text")
    segment(folder, tmp_path / "out")
    model, kept = tmp_path / "out" / "sentencepiece.model", tmp_path / "model"
    model.replace(kept)
    model.symlink_to(kept)
    before = kept.read_bytes()
    assert segment(folder, tmp_path / "out", "--vocabulary", "25")[0] == 0
    assert model.is_symlink() and kept.read_bytes() != before
    (tmp_path / "out" / "test.yy").unlink()
    (tmp_path / "out" / "test.yy").mkdir()
    before = kept.read_bytes()
    status, said = segment(folder, tmp_path / "out")
    assert status == 1 and said.endswith("test.yy is no regular file; name another.\n") and said.count("\n") == 1
    assert kept.read_bytes() == before


def test_a_full_disk_leaves_no_half_model(tmp_path):
    """SentencePiece itself writes what fits and says nothing."""
    limited = f"ulimit -f 1; exec {sys.executable} {SCRIPT} --corpus {corpus(tmp_path / 'text')} --languages xx yy"
    run = subprocess.run(["bash", "-c", f"{limited} --vocabulary 40 --out {tmp_path / 'out'}"], **PIPES)
    assert run.returncode == 1 and run.stderr == f"{tmp_path / 'out'} cannot be written: File too large.\n"
    assert not list((tmp_path / "out").iterdir())


def test_the_vocabulary_is_as_sentencepiece_writes_it(tmp_path):
    folder = corpus(tmp_path / "text")
    segment(folder, tmp_path / "out")
    texts = ",".join(str(folder / f"train.{language}") for language in ("xx", "yy"))
    options = {"vocab_size": 40, "hard_vocab_limit": False, "character_coverage": 1.0, "minloglevel": 1}
    sentencepiece.SentencePieceTrainer.train(input=texts, model_prefix=str(tmp_path / "own"), **options)
    assert (tmp_path / "out" / "sentencepiece.vocab").read_bytes() == (tmp_path / "own.vocab").read_bytes()
