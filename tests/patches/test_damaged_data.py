"""Sets that are not there, cut off, or do not fit together: a sentence that names the file."""

import shutil

import pytest
from fairseq.tasks.translation import TranslationConfig, TranslationTask

from sret_fairseq.errors import OptionError
from support.commands import fairseq
from support.training import BATCHES, MODEL


@pytest.fixture
def copy(data, tmp_path):
    """A data folder that a test may damage."""
    return shutil.copytree(data, tmp_path / "copy")


def load(folder, split="train", **options):
    """Load a set as fairseq does."""
    names = {"data": str(folder), "source_lang": "xx", "target_lang": "yy", "dataset_impl": None, "upsample_primary": 1}
    task = TranslationTask.setup_task(TranslationConfig(**names))
    task.load_dataset(split, **options)
    return task.datasets[split]


def cut(path, size):
    with path.open("r+b") as file:
        file.truncate(size)


def test_whole_sets_are_read(copy):
    assert len(load(copy)) == 60
    for path in copy.glob("test.*"):
        shutil.copy(path, copy / path.name.replace("test", "train1"))
    assert len(load(copy, combine=True)) == 72  # train and train1


@pytest.mark.parametrize("size", [0, 9, 25, 26, 100, -1])
def test_an_index_that_is_cut_off(copy, size):
    path = copy / "train.xx-yy.yy.idx"
    cut(path, size if size >= 0 else path.stat().st_size - 1)
    with pytest.raises(OptionError, match=rf"^data: {path} (is cut off, or no index|has no sentence)"):
        load(copy)


@pytest.mark.parametrize("size", [0, 1, -1])
def test_words_that_are_cut_off(copy, size):
    path = copy / "train.xx-yy.xx.bin"
    cut(path, size if size >= 0 else path.stat().st_size - 1)
    with pytest.raises(OptionError, match=f"^data: {path} is cut off, or its .idx is of another text; run"):
        load(copy)


def test_words_beside_the_index_of_another_text(copy):
    """As an interrupted fairseq-preprocess leaves them, which writes the index last; fairseq would read on."""
    shutil.copy(copy / "test.xx-yy.xx.idx", copy / "train.xx-yy.xx.idx")
    with pytest.raises(OptionError, match=r"train\.xx-yy\.xx\.bin is cut off, or its \.idx is of another text"):
        load(copy)


def test_a_word_that_the_dictionary_has_not(copy):
    """The largest is the last line of the dictionary, whose loss is noticed."""
    dictionary = copy / "dict.yy.txt"
    lines = dictionary.read_text().splitlines(keepends=True)
    assert len(load(copy)) == 60
    dictionary.write_text("".join(lines[:-1]))
    words = len(lines) - 1 + 4
    with pytest.raises(OptionError, match=rf"yy\.bin has word {words}, but its dictionary only {words} words; run"):
        load(copy)


def test_sides_of_different_lengths(copy):
    for ending in ("bin", "idx"):
        shutil.copy(copy / f"test.xx-yy.xx.{ending}", copy / f"train.xx-yy.xx.{ending}")
    with pytest.raises(OptionError, match=r"^data: the two sides of train in .* different numbers of sentences; run"):
        load(copy)


def test_a_set_that_is_not_there(copy):
    with pytest.raises(OptionError, match=r"^data: .*copy has no set tset for these languages; name another, or run"):
        load(copy, "tset")


def test_other_exceptions_stay(copy, monkeypatch):
    def load_langpair_dataset(*args, **kwargs):
        raise AssertionError("another")

    monkeypatch.setattr("fairseq.tasks.translation.load_langpair_dataset", load_langpair_dataset)
    with pytest.raises(AssertionError, match=r"^another$"):
        load(copy)


def test_a_command(copy):
    """Status 1 and the sentence, without a traceback."""
    cut(copy / "train.xx-yy.xx.bin", 7)
    words = f"{MODEL} {BATCHES} --optimizer adam".split()
    status, said = fairseq("train", copy, "--user-dir", "sret_fairseq", "--cpu", *words)
    assert status == 1 and "Traceback" not in said
    assert said.splitlines()[-1].startswith(f"data: {copy / 'train.xx-yy.xx.bin'} is cut off")
