"""scripts/sequence_distillation.sh: the translations of a training text as a data folder."""

import os
import subprocess
import sys

import pytest
from fairseq.data import Dictionary
from fairseq.data.data_utils import load_indexed_dataset

from support.models import REPOSITORY
from support.training import train

TEACHER = (
    "--arch transformer --encoder-layers 1 --decoder-layers 1 --encoder-embed-dim 12 --decoder-embed-dim 12 "
    "--encoder-ffn-embed-dim 8 --decoder-ffn-embed-dim 8 --encoder-attention-heads 2 --decoder-attention-heads 2"
)


SHORT = ("--", "--cpu", "--max-len-b", "6")  # an end for the translations of a hardly trained model


@pytest.fixture(scope="module")
def made(data, tmp_path_factory):
    """A data folder and a teacher."""
    folder = tmp_path_factory.mktemp("teacher")
    train(data, folder, "--max-update 20 --no-epoch-checkpoints", model=TEACHER)
    return data, folder / "checkpoint_last.pt"


def distil(*words, status=0):
    """Run the script from another folder; what it said."""
    command = ["bash", str(REPOSITORY / "scripts" / "sequence_distillation.sh"), *map(str, words)]
    environment = dict(os.environ, VENV=sys.prefix, OMP_NUM_THREADS="1")
    run = subprocess.run(command, cwd="/", env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert run.returncode == status, run.stdout
    return run.stdout


def sentences(data, language):
    """The binarised training text of a language, in words."""
    dictionary = Dictionary.load(str(data / f"dict.{language}.txt"))
    return [dictionary.string(tokens) for tokens in load_indexed_dataset(str(data / f"train.xx-yy.{language}"))]


@pytest.mark.slow
def test_a_folder_to_train_on(made, tmp_path):
    """Sources as they were, translations beside them, all else unchanged; a second call does nothing."""
    data, teacher = made
    distil(teacher, data, "--out", tmp_path, *SHORT)
    new = tmp_path / "data-bin"
    assert sentences(new, "xx") == sentences(data, "xx") == (data.parent / "train.xx").read_text().splitlines()
    log = (tmp_path / "generate.log").read_text().splitlines()
    hypotheses = {int(line.split("\t")[0][2:]): line.split("\t")[2] for line in log if line.startswith("H-")}
    assert list(hypotheses) != sorted(hypotheses)  # fairseq-generate goes by length
    assert sentences(new, "yy") == [hypotheses[number] for number in range(60)]
    for path in data.iterdir():
        if not path.name.startswith(("train", "preprocess")):
            assert (new / path.name).read_bytes() == path.read_bytes(), path.name

    times = {path: path.stat().st_mtime_ns for path in new.iterdir()}
    said = distil(teacher, data, "--out", tmp_path, *SHORT)
    assert said.count("done before, skipped") == 3
    assert {path: path.stat().st_mtime_ns for path in new.iterdir()} == times

    train(new, tmp_path / "student", "--max-update 2")  # fits the model's sizes, or it would fail


@pytest.mark.slow
def test_what_was_interrupted_is_done_again(made, tmp_path):
    """A translation that fails leaves no data folder, and the next call makes it."""
    data, teacher = made
    said = distil(teacher, data, "--out", tmp_path, *SHORT, "--max-source-positions", "3", status=1)
    assert "fairseq-generate failed: " in said and "; see the end of" in said
    assert not (tmp_path / "data-bin").exists()
    distil(teacher, data, "--out", tmp_path, *SHORT)
    assert (tmp_path / "data-bin" / "dict.xx.txt").exists()
    (tmp_path / "data-bin" / "train.xx-yy.yy.bin").write_bytes(b"damaged")
    said = distil(teacher, data, "--out", tmp_path, *SHORT)
    assert said.count("done before, skipped") == 2
    assert len(sentences(tmp_path / "data-bin", "yy")) == 60


def test_mistakes_get_one_sentence(made, tmp_path):
    """Each names what is wrong, and no data folder appears."""
    data, teacher = made
    (tmp_path / "parts").mkdir()
    (tmp_path / "hyphen").mkdir()
    for language in ("zh-CN", "en"):
        (tmp_path / "hyphen" / f"train.zh-CN-en.{language}.idx").write_text("")
    for name in ("train.xx-yy.xx.idx", "train.xx-yy.yy.idx", "train1.xx-yy.xx.idx"):
        (tmp_path / "parts" / name).write_text("")
    out = ("--out", tmp_path / "out")
    for words, sentence in (
        ((teacher, data), "say where the new data go"),
        ((teacher, *out), "give the teacher's checkpoint and a data folder"),
        ((f"{teacher}:/no/file.pt", data, *out), "the teacher's checkpoint /no/file.pt does not exist"),
        ((teacher, "/no/data", *out), "the data folder /no/data does not exist"),
        ((teacher, tmp_path, *out), "holds no binarised training text"),
        ((teacher, tmp_path / "parts", *out), "in several parts"),
        ((teacher, data, *out, "--fp16"), "unknown option '--fp16'"),
        ((teacher, data, *out, "--", "--cpu", "--remove-bpe=sentencepiece"), "--remove-bpe behind -- cannot be"),
        ((teacher, data, *out, "--", "--gen-subset", "valid"), "--gen-subset behind -- cannot be"),
        ((teacher, data, *out, "--", "--path=other.pt"), "--path behind -- cannot be"),
        ((teacher, tmp_path / "hyphen", *out), "hyphen/train.zh-CN-en.zh-CN.bin does not exist"),
        ((teacher, data, "--out", data.parent), "its data-bin is the data folder itself"),
    ):
        said = distil(*words, status=1)
        assert sentence in said and said.startswith("sequence_distillation: ") and said.count("\n") == 1, said
    assert not (tmp_path / "out").exists()
    assert "Usage: bash scripts/sequence_distillation.sh" in distil("--help")
