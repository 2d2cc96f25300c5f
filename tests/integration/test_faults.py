"""Bad input: a clear message and a status other than 0, or an answer in its place; never a silent wrong translation."""

import shutil
import zipfile
from types import SimpleNamespace

import pytest
import torch

from support.commands import fairseq
from support.decoding import lines_of
from support.training import BATCHES, MODEL, OPTIMIZER, train

LONG = "a " * 5000
SKIP = "--skip-invalid-size-inputs-valid-test"
TOO_LONG = "is invalid (=(5001,"
TRANSFORMER = MODEL.replace("sret_transformer", "transformer").replace("--encoder-slices 2,3", "")


def command(name, *args, **standard_input):
    """Run a command of fairseq with the plugin; its status and everything that it says."""
    return fairseq(name, "--user-dir", "sret_fairseq", "--cpu", *args, **standard_input)


@pytest.fixture(scope="module")
def toy(data, tmp_path_factory):
    """A toy corpus, and one training of sret_transformer and one of fairseq's transformer."""
    folder = tmp_path_factory.mktemp("faults")
    train(data, folder / "sret", "--max-epoch 2")
    train(data, folder / "other", "--max-epoch 1", model=TRANSFORMER)
    path = folder / "sret" / "checkpoint_last.pt"
    return SimpleNamespace(folder=folder, data=data, path=path, other=folder / "other")


def interactive(toy, stdin, *words, **options):
    lengths = ("--max-len-b", 5, "--buffer-size", 4, "--batch-size", 2)
    return command("interactive", toy.data, "--path", toy.path, *lengths, *words, stdin=stdin, **options)


def generate(data, path):
    return command("generate", data, "--path", path, "--max-len-b", 5, "--required-batch-size-multiple", 1)


def resume(data, save_dir, words="--max-epoch 3"):
    settings = " ".join((MODEL, BATCHES, OPTIMIZER, words)).split()
    return command("train", data, "--save-dir", save_dir, *settings)


def raw_test_set(toy, folder, lines):
    """A raw data folder whose test set has these source lines."""
    for language, rows in (("xx", lines), ("yy", ["A"] * len(lines))):
        shutil.copy(toy.data / f"dict.{language}.txt", folder)
        (folder / f"test.xx-yy.{language}").write_text("".join(row + "\n" for row in rows))
    return folder


def answers(said):
    return [row[0] for row in lines_of(said, "H")]


def test_empty_lines_are_answered_in_their_place(toy, tmp_path):
    """An empty source line, in fairseq-interactive and in a test set, is translated under its own number."""
    status, said = interactive(toy, b"a b\n\n   \nc d\n")
    assert status == 0 and answers(said) == ["0", "1", "2", "3"]
    assert [row[1] for row in lines_of(said, "S")] == ["a b", "", "", "c d"]
    raw = ("--dataset-impl", "raw", "-s", "xx", "-t", "yy", "--required-batch-size-multiple", 1, "--max-len-b", 5)
    data = raw_test_set(toy, tmp_path, ["a b", "", "c d"])
    status, said_by_generate = command("generate", data, "--path", toy.path, *raw)
    assert status == 0 and answers(said_by_generate) == ["0", "1", "2"]
    texts = {row[2] for row in lines_of(said, "H") if row[0] in "03"}
    assert texts == {row[2] for row in lines_of(said_by_generate, "H") if row[0] in "02"}


def test_a_line_that_is_too_long_is_refused(toy, tmp_path):
    """5,000 words are beyond --max-source-positions: the message names the line, its size and the limit."""
    status, said = interactive(toy, f"a b\n{LONG}\nc\n".encode())
    assert status != 0 and f"Size of sample #1 {TOO_LONG}" in said and SKIP in said
    assert answers(said) == []
    data = raw_test_set(toy, tmp_path, ["a b", "c", LONG])
    status, said = command("generate", data, "--path", toy.path, "--dataset-impl", "raw", "-s", "xx", "-t", "yy")
    assert status != 0 and f"Size of sample #2 {TOO_LONG}" in said and SKIP in said


def test_a_line_that_is_too_long_is_skipped_with_a_warning(toy, tmp_path):
    """With --skip-invalid-size-inputs-valid-test the line is missing, the others keep their numbers, the log tells."""
    status, said = interactive(toy, f"a b\n{LONG}\nc\nd\ne\n".encode(), SKIP)
    assert status == 0 and answers(said) == ["0", "2", "3", "4"]
    assert "1 samples have invalid sizes and will be skipped" in said and "first few sample ids=[1]" in said
    raw = ("--dataset-impl", "raw", "-s", "xx", "-t", "yy", "--required-batch-size-multiple", 1, "--max-len-b", 5)
    data = raw_test_set(toy, tmp_path, ["a b", LONG, "c"])
    status, said = command("generate", data, "--path", toy.path, SKIP, *raw)
    assert status == 0 and answers(said) == ["0", "2"]
    assert "1 samples have invalid sizes and will be skipped" in said and "first few sample ids=[1]" in said


def test_bytes_that_are_no_utf8(toy, tmp_path):
    """They are refused, or, where Python reads input leniently (the C locale), become an unknown word of their line."""
    status, said = interactive(toy, b"a b\n\xff\xfe c\nd\n")
    assert status != 0 and "UnicodeDecodeError: 'utf-8' codec can't decode byte 0xff" in said
    status, said = interactive(toy, b"a b\n\xff\xfe c\nd\n", errors="surrogateescape")
    assert status == 0 and [row[1] for row in lines_of(said, "S")] == ["a b", "<unk> c", "d"]
    (tmp_path / "lines").write_bytes(b"a b\n\xff\xfe c\n")
    status, said = interactive(toy, b"", "--input", tmp_path / "lines")
    assert status != 0 and "UnicodeDecodeError" in said


def test_a_loss_that_is_not_a_number_stops_the_training(toy, tmp_path):
    """An absurd learning rate ends with status and message, and the best checkpoint stays what it was."""
    shutil.copytree(toy.folder / "sret", tmp_path / "save")
    before = torch.load(tmp_path / "save" / "checkpoint_best.pt")["model"]
    status, said = resume(toy.data, tmp_path / "save", "--lr 1e38 --reset-optimizer --reset-lr-scheduler --max-epoch 9")
    assert status != 0 and "FloatingPointError: gradients are Nan/Inf" in said
    after = torch.load(tmp_path / "save" / "checkpoint_best.pt")["model"]
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(torch.isfinite(tensor).all() for tensor in after.values())


def test_a_dictionary_of_another_size(toy, tmp_path):
    """A checkpoint does not load beside a dictionary with one more word; the message names the tensor."""
    shutil.copytree(toy.data, tmp_path / "data")
    with (tmp_path / "data" / "dict.xx.txt").open("a") as dictionary:
        dictionary.write("new 1\n")
    status, said = generate(tmp_path / "data", toy.path)
    assert status != 0 and answers(said) == []
    assert "dictionary" in said.splitlines()[-1] or "size mismatch for encoder.embed_tokens.weight" in said


def test_a_dictionary_of_other_words(toy, tmp_path):
    """A dictionary of the same size with its words in another order is refused, instead of decoded into nonsense."""
    shutil.copytree(toy.data, tmp_path / "data")
    path = tmp_path / "data" / "dict.yy.txt"
    path.write_text("".join(reversed(path.read_text().splitlines(keepends=True))))
    shutil.copytree(toy.folder / "sret", tmp_path / "save")
    for status, said in (generate(tmp_path / "data", toy.path), resume(tmp_path / "data", tmp_path / "save")):
        assert status != 0 and answers(said) == []
        assert "dictionary" in said.splitlines()[-1]


def test_a_checkpoint_of_another_architecture(toy, tmp_path):
    """It is not resumed from as sret_transformer; fairseq-generate builds what the checkpoint says, and answers."""
    shutil.copytree(toy.other, tmp_path / "save")
    status, said = resume(toy.data, tmp_path / "save")
    assert status != 0 and "does not fit the model of these options" in said
    status, said = generate(toy.data, toy.other / "checkpoint_last.pt")
    assert status == 0 and len(answers(said)) == 12


def damage(source, target, change):
    """Copy a checkpoint with its bytes changed."""
    target.parent.mkdir()
    content = bytearray(source.read_bytes())
    target.write_bytes(change(content))
    return target


def flip_bit_in_largest_tensor(content: bytearray, path):
    """Flip one bit in the middle of the largest member of the zip file."""
    with zipfile.ZipFile(path) as archive:
        member = max(archive.infolist(), key=lambda one: one.file_size)
        # A member starts with 30 bytes, its name and its extra field, whose size stands in bytes 28 and 29.
        extra = int.from_bytes(content[member.header_offset + 28 : member.header_offset + 30], "little")
        content[member.header_offset + 30 + len(member.filename) + extra + member.file_size // 2] ^= 64
    return content


@pytest.fixture(scope="module", params=["truncated", "flipped bit"])
def damaged(request, toy):
    """A folder with a damaged checkpoint_last.pt."""
    folder = toy.folder / request.param.replace(" ", "-")
    changes = {
        "truncated": lambda content: content[: len(content) // 2],
        "flipped bit": lambda content: flip_bit_in_largest_tensor(content, toy.path),
    }
    return damage(toy.path, folder / "checkpoint_last.pt", changes[request.param])


def test_a_damaged_checkpoint(toy, damaged):
    """Half a checkpoint, or one with a single bit flipped, is refused by its path: to translate, and to go on with."""
    for status, said in (generate(toy.data, damaged), resume(toy.data, damaged.parent)):
        assert status != 0 and answers(said) == []
        last = said.splitlines()[-1]
        assert "is damaged" in last and str(damaged) in last
