"""scripts/export_onnx.py, and sret-translate with a checkpoint: a trained model becomes a bundle in one command."""

import io
import json
import sys

import pytest
import torch

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import export_onnx
from sret_translate import Translator, translate
from support.commands import refusal
from support.models import REPOSITORY
from support.training import make_data, train


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A checkpoint after three updates, and its data."""
    folder = tmp_path_factory.mktemp("trained")
    data = make_data(folder)
    train(data, folder / "run", "--max-update 3 --max-epoch 1 --user-dir sret_fairseq")
    return folder / "run" / "checkpoint_last.pt", data


def call(monkeypatch, main, *args, text: str = "") -> None:
    """Call a command, where it has to succeed."""
    monkeypatch.setattr(sys, "argv", ["command", *map(str, args)])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    main()


def test_a_checkpoint_becomes_a_bundle(trained, tmp_path, monkeypatch, capfd):
    call(monkeypatch, export_onnx.main, *trained, "--out", tmp_path / "bundle")
    said = capfd.readouterr().out
    assert str(tmp_path / "bundle") in said and "of the model's" in said
    config = json.loads((tmp_path / "bundle" / "config.json").read_text())
    assert config["training"] == {"updates": 3}
    assert config["languages"] == ["xx", "yy"]
    assert any("distinct blocks x 2 passes" in line for line in config["summary"])

    text = "a b c\nf e\n"
    expected = Translator(str(tmp_path / "bundle")).translate(text.splitlines())
    assert all(expected)
    call(monkeypatch, translate.main, trained[0], "--data", trained[1], text=text)
    assert capfd.readouterr().out.splitlines() == expected


def test_what_cannot_be_exported_is_refused_in_a_sentence(trained, tmp_path):
    checkpoint, data = trained
    out = ["--out", tmp_path / "bundle"]
    assert "there is no file" in refusal(export_onnx.main, checkpoint, data, *out, "--sentencepiece", tmp_path / "none")
    assert "a bundle holds one" in refusal(export_onnx.main, f"{checkpoint}:{checkpoint}", data, *out)
    assert "there is no file" in refusal(export_onnx.main, checkpoint, data, *out, "--bpe-codes", tmp_path / "none")
    assert "dict.*.txt" in refusal(export_onnx.main, checkpoint, tmp_path, *out)
    assert "cannot be read" in refusal(export_onnx.main, REPOSITORY / "setup.py", data, *out)
    assert "--passes 1 3: the model has 1 to 2" in refusal(export_onnx.main, checkpoint, data, *out, "--passes", 1, 3)
    assert not (tmp_path / "bundle").exists()


def test_a_checkpoint_that_cannot_be_translated_with_is_refused_in_a_sentence(trained, tmp_path):
    checkpoint, data = trained
    assert "--data" in refusal(translate.main, checkpoint)
    assert f"data: {tmp_path} lacks dict.xx.txt; give" in refusal(translate.main, checkpoint, "--data", tmp_path)
    assert "damaged or no checkpoint" in refusal(translate.main, REPOSITORY / "setup.py", "--data", data)


@pytest.mark.parametrize("option, said", [("--sentencepiece", "no SentencePiece model"), ("--bpe-codes", "codes of")])
def test_a_damaged_way_of_preparing_text_is_named(trained, tmp_path, option, said):
    """By the path that was given, not by that of a copy."""
    checkpoint, data = trained
    (tmp_path / "empty").touch()
    words = (checkpoint, data, "--out", tmp_path / "bundle", option, tmp_path / "empty")
    for main, rest in ((export_onnx.main, words), (translate.main, (checkpoint, "--data", data, *words[-2:]))):
        sentence = refusal(main, *rest)
        assert sentence.startswith(f"{option}: {tmp_path / 'empty'} ") and said in sentence
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_a_training_that_diverged_is_named(trained, tmp_path):
    checkpoint, data = trained
    state = torch.load(checkpoint, weights_only=True)
    name = next(iter(state["model"]))
    state["model"][name][0] = float("nan")
    torch.save(state, tmp_path / "nan.pt")
    for main, rest in ((export_onnx.main, (data, "--out", tmp_path / "out")), (translate.main, ("--data", data))):
        sentence = refusal(main, tmp_path / "nan.pt", *rest)
        assert f"nan.pt: the tensor {name} holds NaN or infinity; the training diverged: take another." in sentence
    assert [path.name for path in tmp_path.iterdir()] == ["nan.pt"]
