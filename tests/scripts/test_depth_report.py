"""scripts/depth_report.py on a model that was trained for a few updates."""

import csv
import json
import re
import subprocess
import sys

import pytest
import torch

import depth_report
from common.words import counted
from support.models import REPOSITORY
from support.training import load, make_data, train

MODEL = (
    "--arch sret_transformer --encoder-embed-dim 16 --decoder-embed-dim 24 --encoder-ffn-embed-dim 20 "
    "--decoder-ffn-embed-dim 28 --encoder-attention-heads 4 --decoder-attention-heads 2 --encoder-layers 2 "
    "--decoder-layers 1 --encoder-recursions 3 --decoder-recursions 2"
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A data folder and a checkpoint."""
    folder = tmp_path_factory.mktemp("depths")
    data = make_data(folder)
    train(data, folder / "run", "--criterion sret_mixed_depth --mixed-depth 1,2 --max-update 30", MODEL)
    return data, folder / "run" / "checkpoint_last.pt"


def report(*words):
    """Run the script."""
    command = [sys.executable, REPOSITORY / "scripts" / "depth_report.py", *words]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True)


def test_every_depth(trained, tmp_path):
    """A row for each number of passes, with what fairseq-generate said of it, in the table, the JSON and the CSV."""
    data, checkpoint = trained
    done = report(checkpoint, data, "--out", tmp_path, "--", "--beam", "2")
    assert done.returncode == 0, done.stderr
    depths = json.loads((tmp_path / "depths.json").read_text())["depths"]
    assert [(row["passes"], row["virtual depth"]) for row in depths] == [(1, 3), (2, 6), (3, 8)]
    for row in depths:
        log = (tmp_path / f"passes{row['passes']}.log").read_text()
        assert row["BLEU4"] == float(re.search(r"BLEU4 = ([\d.]+)", log)[1])
        assert "beam=2" in log
        assert f"encoder: 2 distinct blocks x {counted(row['passes'], 'pass')}" in log
        assert f"decoder: 1 distinct block x {counted(min(row['passes'], 2), 'pass')}" in log
        assert f"| {row['passes']} " in done.stdout
    with open(tmp_path / "depths.csv") as file:
        assert [row["passes"] for row in csv.DictReader(file)] == ["1", "2", "3"]
    assert (tmp_path / "depths.png").stat().st_size > 1000


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["--passes", "4"], "--passes 4: give numbers from 1 to 3"),
        (["--subset", "nowhere"], "has no nowhere set"),
        (["--out", "/dev/null/x"], "--out: /dev/null/x cannot be made a folder"),
        (["--passes", "1", "--", "--scoring", "chrf"], "fairseq-generate printed no BLEU4; leave --scoring out."),
    ],
)
def test_refusals(trained, words, sentence):
    """One sentence each."""
    done = report(trained[1], trained[0], *words)
    assert done.returncode and sentence in done.stderr and "Traceback" not in done.stderr


def test_checkpoints_of_hydra(trained, tmp_path):
    """fairseq-hydra-train stores the model's options as a dictionary."""
    checkpoint = load(trained[1].parent)
    checkpoint["cfg"]["model"] = vars(checkpoint["cfg"]["model"])
    torch.save(checkpoint, tmp_path / "hydra.pt")
    trained_passes = depth_report.trained_passes
    assert trained_passes(tmp_path / "hydra.pt") == trained_passes(trained[1]) == {"encoder": (2, 3), "decoder": (1, 2)}


def test_other_models_are_refused(trained, tmp_path):
    """fairseq's transformer has no passes to choose from."""
    data, _ = trained
    model = "--arch transformer --encoder-embed-dim 16 --decoder-embed-dim 16 --encoder-layers 1 --decoder-layers 1"
    train(data, tmp_path, "--max-update 1 --criterion cross_entropy", model)
    done = report(tmp_path / "checkpoint_last.pt", data)
    assert done.returncode and "holds no sret_transformer" in done.stderr
