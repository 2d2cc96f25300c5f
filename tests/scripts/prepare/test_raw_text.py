"""scripts/prepare/raw_text.py takes own text, says what it is, and names the user's files where it is wrong."""

import gzip

import pytest

from prepare import raw_text

SIZES = {"train": 30, "valid": 4, "test": 3}


@pytest.fixture
def text(tmp_path):
    """A folder of plain text, one file of it gzipped."""
    folder = tmp_path / "text"
    folder.mkdir()
    for split, count in SIZES.items():
        for language in ("xx", "yy"):
            lines = "".join(f"{language} saw {number} houses.\n" for number in range(count))
            (folder / f"{split}.{language}").write_text(lines)
    path = folder / "valid.xx"
    (folder / "valid.xx.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    return folder


@pytest.fixture
def read(text, tmp_path, monkeypatch):
    """A function that runs the script in this process; what it says of the text."""

    def call(*words):
        argv = ["raw_text.py", str(text), "--languages", "xx", "yy", "--out", str(tmp_path / "out"), *words]
        monkeypatch.setattr("sys.argv", argv)
        raw_text.main()
        return (tmp_path / "out" / "tokenised").read_text()

    return call


def divide(path, mark):
    """Put a mark of pieces into a text."""
    path.write_text(path.read_text().replace("houses", f"hou{mark}ses"))


def test_plain_text(read):
    assert read() == "no\n" and read("--tokenised", "yes") == "yes\n" and read("--take-bpe") == "no\n"


def test_text_in_bpe(read, text):
    """Only the recipe that says so takes it, and only if all of it is."""
    divide(text / "train.yy", "@@ ")
    with pytest.raises(SystemExit, match=r"--raw: .*text/train\.yy is in BPE \(@@\), which this recipe learns itself"):
        read()
    with pytest.raises(SystemExit, match=r"only train\.yy has BPE's marks \(@@\); segment all texts or none\."):
        read("--take-bpe")
    (text / "valid.xx").write_text("xx saw 1 houses.\n" * SIZES["valid"])
    (text / "valid.xx.gz").unlink()
    for path in text.iterdir():
        divide(path, "@@ ")
    assert read("--take-bpe") == "bpe\n"


def test_text_in_pieces_of_sentencepiece(read, text):
    divide(text / "test.xx", "\u2581")
    for words in ((), ("--take-bpe",), ("--tokenised", "yes")):
        with pytest.raises(SystemExit, match=r"--raw: .*text/test\.xx is in pieces of SentencePiece \(\u2581\)"):
            read(*words)


def test_a_stray_mark_is_text(read, text):
    """One address in many lines is none of BPE."""
    path = text / "train.xx"
    path.write_text(path.read_text().replace("saw 7", "wrote to a@@ b"))
    assert read() == "no\n"


def test_unequal_sides(read, text):
    """The message names the files that the user gave."""
    with open(text / "valid.yy", "a") as file:
        file.write("one more.\n")
    with pytest.raises(SystemExit, match=r"text/valid\.xx\.gz ends before line 5 but .*text/valid\.yy goes on"):
        read()


@pytest.mark.parametrize("mark", ["\u3002", "\u0964", "\u061f"])
def test_final_marks_of_other_scripts(read, text, mark):
    """Chinese, Hindi and Arabic text ends in marks of its own."""
    plain = (text / "train.yy").read_text()
    (text / "train.yy").write_text(plain.replace(".", mark))
    assert read() == "no\n"
    for path in (text / "train.xx", text / "train.yy"):
        path.write_text(plain.replace(".", f" {mark}"))
    assert read() == "yes\n"
