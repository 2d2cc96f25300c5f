"""A data folder that is missing or is none: a sentence that says what to give."""

import re
import shutil
from types import SimpleNamespace

import pytest

from sret_fairseq.errors import OptionError
from sret_fairseq.patches.missing_data import check_data
from support.commands import fairseq
from support.training import BATCHES, MODEL


def config(data, source=None, target=None):
    return SimpleNamespace(data=data, source_lang=source, target_lang=target)


@pytest.mark.parametrize(
    "names, languages, sentence",
    [
        ([], (), "no name of a file in .* tells the languages; give the folder of fairseq-preprocess"),
        (["train.xx-yy.xx.idx"], (), "lacks dict.xx.txt"),
        (["train.xx-yy.xx.idx", "dict.xx.txt"], (), "lacks dict.yy.txt"),
        (["dict.xx.txt"], ("xx", "yy"), "lacks dict.yy.txt"),
    ],
)
def test_folders_that_are_none(tmp_path, names, languages, sentence):
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(OptionError, match=f"^data: .*{sentence}"):
        check_data(config(str(tmp_path), *languages))


@pytest.mark.parametrize("data", [None, "", "???"])
def test_no_folder(data):
    with pytest.raises(OptionError, match=r"^data: none was named; .* \(With Hydra: task\.data=DIR\.\)$"):
        check_data(config(data))


def test_what_is_whole_or_elsewhere(data):
    check_data(config(str(data)))
    check_data(config(f"{data}:/nowhere", "xx", "yy"))  # fairseq itself looks for the parts of a text
    check_data(config("s3://bucket/data"))


@pytest.mark.parametrize("languages", ["", "-s xx -t yy"])
def test_a_command(data, tmp_path, languages):
    """Status 1 and the sentence, without a traceback."""
    words = f"{MODEL} {BATCHES} {languages} --optimizer adam".split()
    status, said = fairseq("train", tmp_path / "none", "--user-dir", "sret_fairseq", "--cpu", *words)
    sentence = f"data: {tmp_path / 'none'} is no folder; give the folder of fairseq-preprocess."
    assert status == 1 and said.splitlines()[-1] == sentence and "Traceback" not in said
    shutil.copytree(data, tmp_path / "copy")
    (tmp_path / "copy" / "dict.yy.txt").unlink()
    status, said = fairseq("train", tmp_path / "copy", "--user-dir", "sret_fairseq", "--cpu", *words)
    assert status == 1 and re.search(r"copy lacks dict\.yy\.txt; give", said.splitlines()[-1])
