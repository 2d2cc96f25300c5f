"""scripts/convert_transformer_checkpoint.py refuses in one sentence, and writes nothing."""

import sys

import pytest
import torch

import convert_transformer_checkpoint
from support.checkpoints import Payload, write_checkpoint
from support.warm_start import PRE_NORM, transformer


@pytest.fixture
def refusal(convert, tmp_path):
    """A function that runs the script, which has to fail in one sentence and write nothing; the sentence."""

    def run(path, *words, **keywords):
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(SystemExit) as caught:
            convert(path, *words, **keywords)
        assert sorted(tmp_path.rglob("*")) == before
        sentence = str(caught.value.code)
        assert caught.value.code not in (0, None) and "\n" not in sentence
        return sentence

    return run


def test_refuses_files(refusal, tmp_path):
    """What is no checkpoint, half of one, one with code in it, or missing."""
    _, path = transformer(tmp_path)
    (tmp_path / "half.pt").write_bytes(path.read_bytes()[:4000])
    (tmp_path / "text.pt").write_text("no checkpoint\n")
    torch.save([1, 2], tmp_path / "list.pt")
    write_checkpoint(tmp_path / "payload.pt", {"weight": torch.ones(1)}, extra=Payload(tmp_path / "evidence"))
    for name in ("half.pt", "text.pt", "list.pt"):
        sentence = refusal(tmp_path / name)
        assert name in sentence and ("damaged" in sentence or "no checkpoint" in sentence)
    assert "mkdir" in refusal(tmp_path / "payload.pt")
    assert "No such file" in refusal(tmp_path / "missing.pt")
    assert "directory" in refusal(tmp_path)
    assert "nowhere does not exist" in refusal(path, output=tmp_path / "nowhere" / "sret.pt")
    assert "--output" in refusal(path, output=path)


@pytest.mark.parametrize("number", [float("nan"), float("-inf")])
def test_refuses_what_is_no_number(refusal, tmp_path, number):
    """Of a training that diverged; the sentence names the tensor."""
    _, path = transformer(tmp_path)
    state = torch.load(path, weights_only=True)
    state["model"]["decoder.layers.0.fc1.bias"][1] = number
    torch.save(state, path)
    assert "the tensor decoder.layers.0.fc1.bias holds NaN or infinity" in refusal(path)


def test_refuses_other_architectures(refusal, convert, tmp_path):
    _, path = transformer(tmp_path)
    convert(path)
    assert "architecture sret_transformer" in refusal(tmp_path / "sret.pt", output=tmp_path / "again.pt")
    state = torch.load(path, weights_only=True)
    state["cfg"]["model"].arch = "lstm"
    torch.save(state, path)
    assert "architecture lstm" in refusal(path)


def test_refuses_missing_tensors(refusal, tmp_path):
    """Of no transformer, and of one from before its last LayerNorm, which that form says by its version."""
    _, path = transformer(tmp_path, **PRE_NORM)
    state = torch.load(path, weights_only=True)
    old = {**state["model"], "encoder.version": torch.tensor([1.0])}
    del old["encoder.layer_norm.weight"], old["encoder.layer_norm.bias"]
    torch.save({**state, "model": old}, path)
    assert "no tensor encoder.layer_norm.weight" in refusal(path)
    torch.save({**state, "model": {"weight": torch.ones(1)}}, path)
    assert "no tensor decoder.embed_tokens.weight" in refusal(path)


@pytest.mark.parametrize(
    "words, part",
    [
        (["--encoder-recursions", 3], "has to divide the 4 encoder layers"),
        (["--decoder-recursion-span", 2], "has to divide the 6 decoder layers"),
        (["--encoder-recursions", 0], "must be a whole number, 1 or more"),
        (["--encoder-slices", "2,2,2"], "names 3 passes"),
        (["--nll-ratio", -1], "must be 0 or more"),
        (["--no-encoder-normalize-before"], "is as in --input"),
    ],
)
def test_refuses_options(refusal, tmp_path, words, part):
    _, path = transformer(tmp_path)
    assert part in refusal(path, *words)


def test_help_names_what_there_is(capsys, monkeypatch):
    """Not the options that are refused, nor the defaults of a model that is trained from the start."""
    monkeypatch.setattr(sys, "argv", ["convert", "--help"])
    with pytest.raises(SystemExit):
        convert_transformer_checkpoint.parse_args()
    said = " ".join(capsys.readouterr().out.split())
    assert "--encoder-slices" in said and "normalize-before" not in said
    assert "1 is full attention (default: 1," in said and "number of passes, at most" not in said


@pytest.mark.parametrize(
    "name, value, part",
    [
        ("quant_noise_pq", 0.1, "--quant-noise-pq"),
        ("cross_self_attention", True, "--cross-self-attention"),
        ("base_layers", 1, "--base-layers"),
        ("decoder_xformers_att_config", "{}", "--decoder-xformers-att-config"),
        ("encoder_ffn_embed_dim", 40, "do not fit its own options"),
    ],
)
def test_refuses_options_of_the_original(refusal, tmp_path, name, value, part):
    """What sret_transformer has not, and options that contradict the tensors."""
    _, path = transformer(tmp_path)
    state = torch.load(path, weights_only=True)
    setattr(state["cfg"]["model"], name, value)
    torch.save(state, path)
    assert part in refusal(path)
