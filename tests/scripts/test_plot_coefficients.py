"""scripts/plot_coefficients.py reads the coefficients of a training's checkpoints, in order, and draws each."""

import csv
import subprocess
import sys

import pytest
import torch

import plot_coefficients
from common import output
from support.checkpoints import Payload, write_checkpoint
from support.models import REPOSITORY
from support.training import make_data, train

SCRIPT = REPOSITORY / "scripts" / "plot_coefficients.py"
ENCODER = "encoder.layers.1.blocks.0.ffn_residual.coefficients.identity"
NLL = "decoder.layers.0.projections.1.0.residual.coefficients.residual"


@pytest.fixture
def plot(monkeypatch):
    """A function that runs the script on these words; the lines drawn, ``{panel: [(xs, ys)]}``."""
    drawn, save = {}, output.save_figure

    def record(figure, path):
        for axes in figure.axes:
            drawn[axes.get_title()] = [tuple(map(list, line.get_data())) for line in axes.get_lines()[1:]]
        save(figure, path)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["plot_coefficients.py", *map(str, words)])
        plot_coefficients.main()
        return drawn

    monkeypatch.setattr(output, "save_figure", record)
    return run


def write(path, updates, encoder, nll):
    """A checkpoint with a coefficient of the encoder and one of the decoder's NLL, given as offsets."""
    model = {ENCODER: torch.tensor(encoder), NLL: torch.tensor(nll), "decoder.version": torch.tensor(3.0)}
    return write_checkpoint(path, model, optimizer_history=[{"num_updates": 1}, {"num_updates": updates}])


def rows(folder):
    """The rows of coefficients.csv."""
    with (folder / "coefficients.csv").open() as file:
        return [tuple(row) for row in csv.reader(file)]


def test_values_by_hand(plot, tmp_path):
    """By updates, not by name or number; other checkpoints are left out, and a scalar has no deviation."""
    write(tmp_path / "checkpoint10.pt", 1000, [[0.5], [-0.5]], [[0.0, 1.0]])
    write(tmp_path / "checkpoint9.pt", 900, [[0.25], [0.0]], [[0.5, 0.5]])
    write(tmp_path / "checkpoint_1_90.pt", 90, [[0.0], [0.0]], [[0.0, 0.0]])
    write(tmp_path / "checkpoint_9_900.pt", 900, [[0.25], [0.0]], [[0.5, 0.5]])
    write(tmp_path / "checkpoint_best.pt", 500, [[9.0], [9.0]], [[9.0, 9.0]])
    panels = plot(tmp_path, "--out", tmp_path / "out")
    assert rows(tmp_path / "out") == [
        ("updates", "side", "block", "pass", "sublayer", "which", "value", "standard deviation"),
        ("90", "encoder", "2", "1", "ffn", "c1", "1.0", ""),
        ("90", "encoder", "2", "2", "ffn", "c1", "1.0", ""),
        ("90", "decoder", "1", "2", "nll", "c2", "1.0", "0.0"),
        ("900", "encoder", "2", "1", "ffn", "c1", "1.25", ""),
        ("900", "encoder", "2", "2", "ffn", "c1", "1.0", ""),
        ("900", "decoder", "1", "2", "nll", "c2", "1.5", "0.0"),
        ("1000", "encoder", "2", "1", "ffn", "c1", "1.5", ""),
        ("1000", "encoder", "2", "2", "ffn", "c1", "0.5", ""),
        ("1000", "decoder", "1", "2", "nll", "c2", "1.5", "0.5"),
    ]
    updates = [90, 900, 1000]
    assert panels == {
        "encoder: c1, of the stream": [(updates, [1, 1.25, 1.5]), (updates, [1, 1, 0.5])],
        "encoder: c2, of the sublayer's output": [],
        "decoder: c1, of the stream": [],
        "decoder: c2, of the sublayer's output": [(updates, [1, 1.5, 1.5])],
    }
    assert (tmp_path / "out" / "coefficients.png").read_bytes().startswith(b"\x89PNG")


def test_a_training_that_diverged(plot, tmp_path, capsys):
    """It is drawn up to there, and said of the checkpoint, not of the sound one."""
    write(tmp_path / "checkpoint1.pt", 100, [[0.5], [0.5]], [[0.0, 1.0]])
    write(tmp_path / "checkpoint2.pt", 200, [[0.5], [float("nan")]], [[0.0, 1.0]])
    plot(tmp_path, "--out", tmp_path / "out")
    printed = capsys.readouterr().out.splitlines()
    assert [index for index, line in enumerate(printed) if "NaN or infinity" in line] == [2]
    assert "checkpoint2.pt" in printed[1]
    assert ("200", "encoder", "2", "2", "ffn", "c1", "nan", "") in rows(tmp_path / "out")


def test_a_real_training(plot, tmp_path):
    """Every coefficient of a model, one for each channel, is in the file; with the shared c2 alone there are no c1."""
    save_dir = tmp_path / "run"
    words = (
        "--max-update 6 --save-interval-updates 3 --residual-coefficients residual --residual-coefficient-size channel"
    )
    checkpoint = train(make_data(tmp_path), save_dir, words)
    panels = plot(save_dir, "--out", tmp_path / "out")
    last = [row for row in rows(tmp_path / "out") if row[0] == "6"]
    tensors = [tensor for name, tensor in checkpoint["model"].items() if ".coefficients." in name]
    # 2 blocks of 2 sublayers, 3 blocks of 3; an NLL for each block and pass.
    assert len(last) == len(tensors) == 2 * 2 + 3 * 3 + 2 * (2 + 3)
    assert {row[3] for row in last if row[4] != "nll"} == {"all"} and {row[5] for row in last} == {"c2"}
    means = sorted(1 + tensor.double().mean().item() for tensor in tensors)
    assert sorted(float(row[6]) for row in last) == pytest.approx(means, abs=1e-6)
    assert [len(lines) for lines in panels.values()] == [2 * 2 + 2 * 2, 3 * 3 + 2 * 3]


def test_refusals(plot, tmp_path):
    def refusal():
        with pytest.raises(SystemExit) as refused:
            plot(folder, "--out", tmp_path / "out")
        assert not (tmp_path / "out").exists() and "\n" not in refused.value.code
        return refused.value.code

    folder = tmp_path / "run"
    assert f"{folder} is no folder" in refusal()
    folder.mkdir()
    write(folder / "checkpoint_last.pt", 1, [[0.0]], [[0.0]])
    assert f"{folder} holds no checkpointE.pt" in refusal()
    path = write_checkpoint(folder / "checkpoint1.pt", {"encoder.layers.0.fc1.bias": torch.ones(2)})
    assert f"{path} holds no residual coefficients" in refusal()
    write(path, 1, [[0.0], [0.0]], [[0.0]])
    other = write(folder / "checkpoint2.pt", 2, [[0.0]], [[0.0]])
    assert f"{other} has other coefficients than {path}: name a folder with one training alone." in refusal()
    other.unlink()
    path = write_checkpoint(folder / "checkpoint1.pt", {ENCODER: torch.zeros(1, 1)}, optimizer_history=[])
    assert f"{path} does not say after how many updates" in refusal()
    path.write_bytes(b"nothing of use")
    assert f"{path} cannot be read" in refusal()
    write_checkpoint(path, {ENCODER: torch.zeros(1, 1)}, extra=Payload(tmp_path / "evidence"))
    assert f"{path} carries posix.mkdir" in refusal() and not (tmp_path / "evidence").exists()


def test_as_a_command(tmp_path):
    """From another folder, without the package on the path."""
    write(tmp_path / "checkpoint1.pt", 10, [[0.5]], [[0.0]])
    run = subprocess.run([sys.executable, SCRIPT, ".", "--out", "out"], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0 and run.stderr == "", run.stderr
    assert len(rows(tmp_path / "out")) == 3
