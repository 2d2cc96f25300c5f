"""fairseq's commands with this plugin, as a user types them; as processes from raw text to a score: test_readme.py."""

import json
from pathlib import Path

import pytest

from support.commands import fairseq
from support.models import REPOSITORY, python
from support.training import BATCHES, MODEL

PLUGIN = ("--user-dir", "sret_fairseq", "--cpu")


def train(data: Path, folder: Path, *words) -> str:
    """Run fairseq-train, which has to succeed; what it says."""
    settings = "--optimizer adam --lr 0.005 --criterion label_smoothed_cross_entropy --log-format json --log-interval 5"
    words = (data, *PLUGIN, "--save-dir", folder, *f"{MODEL} {BATCHES} {settings}".split(), *words)
    status, said = fairseq("train", *words)
    assert status == 0, said
    return said


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """A folder with the checkpoint after 20 updates; and what fairseq-train said."""
    folder = tmp_path_factory.mktemp("commands")
    return folder, train(data, folder, "--max-update", 20)


def test_train_logs_what_the_model_is_made_of(trained):
    """Parameters by part, depth and slices stand in the log before the first update."""
    _, said = trained
    start = said[: said.index("begin training epoch 1")]
    for words in ("parameters: total ", "embeddings ", "blocks ", "NLL ", "coefficients "):
        assert words in start
    assert "3 distinct blocks x 2 passes = virtual depth 6" in start
    assert "slices by pass: 2, 3" in start


def test_training_learns(trained):
    """The loss on the training text falls."""
    _, said = trained
    records = [json.loads(line[line.index("{") :]) for line in said.splitlines() if '"train_loss"' in line]
    assert float(records[-1]["train_loss"]) < float(records[0]["train_loss"])


def test_resume_continues(trained, data, tmp_path):
    """A second call goes on where the first one stopped."""
    folder, _ = trained
    said = train(data, tmp_path, "--restore-file", folder / "checkpoint_last.pt", "--max-update", 22)
    assert "Loaded checkpoint" in said and "@ 20 updates" in said


def test_generate_and_score(trained, data, tmp_path):
    """Every test sentence gets a hypothesis, and fairseq-score agrees with fairseq-generate."""
    folder, _ = trained
    # ve-fairseq 0.12.3 drops the last batch when its size is no multiple of this, 8 by default.
    whole = ("--batch-size", 5, "--required-batch-size-multiple", 1)
    status, said = fairseq("generate", data, *PLUGIN, "--path", folder / "checkpoint_last.pt", "--beam", 3, *whole)
    assert status == 0, said
    hypotheses = sorted(
        (int(line.split("\t")[0][2:]), line.split("\t")[2]) for line in said.splitlines() if line.startswith("H-")
    )
    assert [number for number, _ in hypotheses] == list(range(12))
    (tmp_path / "hypotheses").write_text("".join(text + "\n" for _, text in hypotheses))
    _, score = fairseq("score", "--sys", tmp_path / "hypotheses", "--ref", data.parent / "test.yy")
    in_generate = next(line for line in said.splitlines() if "BLEU4 = " in line).split("BLEU4 = ")[1].split(",")[0]
    assert f"BLEU4 = {in_generate}," in score


def test_validate(trained, data):
    """fairseq-validate reads the checkpoint and reports a loss."""
    folder, _ = trained
    words = ("--path", folder / "checkpoint_last.pt", "--task", "translation", "--max-tokens", 500)
    status, said = fairseq("validate", data, *PLUGIN, *words)
    assert status == 0 and "valid on 'valid' subset | loss" in said


def test_interactive_from_another_folder(trained, data, tmp_path):
    """As a process of its own: an absolute --user-dir works from anywhere; a line is translated as it comes."""
    folder, _ = trained
    plugin = ("--user-dir", REPOSITORY / "sret_fairseq", "--cpu")
    words = ("-m", "fairseq_cli.interactive", data, *plugin, "--path", folder / "checkpoint_last.pt")
    said = python(*words, stdin="a b c\nd\n", folder=tmp_path)
    assert [line[:3] for line in said.splitlines() if line.startswith("H-")] == ["H-0", "H-1"]
