"""The residual coefficients: where each parameter's values belong, and their way into TensorBoard during training."""

import struct

import pytest
import torch
from tensorboardX.proto.event_pb2 import Event

from sret_fairseq import coefficients
from sret_fairseq.coefficients import Place
from support.models import build_fairseq, build_sret
from support.training import load, train, train_in_two


def events(folder):
    """``{name: {step: value}}`` of all scalars in the event files of a folder, which are TensorFlow's records."""
    scalars = {}
    for path in folder.glob("events*"):
        contents, position = path.read_bytes(), 0
        while position < len(contents):
            (length,) = struct.unpack_from("<Q", contents, position)
            event = Event.FromString(contents[position + 12 : position + 12 + length])
            position += 12 + length + 4  # the length and its checksum, the event, its checksum
            for value in event.summary.value:
                if value.WhichOneof("value") == "simple_value":
                    scalars.setdefault(value.tag, {})[event.step] = value.simple_value
    return scalars


def test_scalars_by_hand():
    """Two groups of two blocks in the encoder, one of three in the decoder: blocks count through the groups."""
    names = [
        "encoder.layers.1.blocks.1.ffn_residual.coefficients.identity",
        "encoder.layers.0.projections.1.0.residual.coefficients.residual",
        "decoder.layers.0.blocks.2.cross_attn_residual.coefficients.residual",
        "encoder.layers.0.blocks.0.ffn.fc1.bias",
    ]
    tensors = [torch.tensor([[0.5]]), torch.tensor([[-0.25]]), torch.tensor([[0.5], [1.0]]), torch.ones(3)]
    assert coefficients.by_place(zip(names, tensors)) == {
        Place("encoder", 4, "all", "ffn", "c1"): (1.5,),
        Place("encoder", 1, "2", "nll", "c2"): (0.75,),
        Place("decoder", 3, "1", "cross_attn", "c2"): (1.5,),
        Place("decoder", 3, "2", "cross_attn", "c2"): (2.0,),
    }


def test_channels_by_hand():
    """Mean 1 + 0.5 and standard deviation 0.5 over two channels, in bfloat16 too."""
    name = "decoder.layers.2.blocks.0.self_attn_residual.coefficients.residual"
    for dtype in (torch.float32, torch.bfloat16):
        found = coefficients.by_place([(name, torch.nn.Parameter(torch.tensor([[0.0, 1.0]], dtype=dtype)))])
        assert found == {Place("decoder", 3, "all", "self_attn", "c2"): (1.5, 0.5)}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"residual_coefficients_per_pass": True, "residual_coefficient_size": "channel"},
        {"encoder_recursion_span": 2, "decoder_recursion_span": 4, "decoder_recursions": 3},
        {"residual_coefficients": "residual", "residual_coefficients_per_pass": True},
    ],
)
def test_every_coefficient_of_a_model_has_one_place(options):
    model = build_sret(**options)
    found = coefficients.by_place(model.named_parameters())
    tensors = [tensor for name, tensor in model.named_parameters() if ".coefficients." in name]
    assert len(found) == sum(len(tensor) for tensor in tensors) > 0
    values = sorted(moments[0] for moments in found.values())
    torch.testing.assert_close(values, sorted((1 + torch.cat([tensor.mean(dim=1) for tensor in tensors])).tolist()))
    for side, blocks in (("encoder", 2), ("decoder", 4)):
        assert {place.block for place in found if place.side == side} == set(range(1, blocks + 1))


def test_other_models_have_none():
    assert coefficients.by_place(build_fairseq().named_parameters()) == {}
    assert coefficients.scalars(build_sret(residual_coefficients="none")) == {}


def test_training_logs_to_tensorboard(data, tmp_path, caplog):
    """At every second update, with the values that the checkpoint of that update has; and nothing in the JSON."""
    words = f"--max-update 4 --log-interval 2 --log-format json --tensorboard-logdir {tmp_path / 'board'}"
    train(data, tmp_path, f"{words} --residual-coefficients-per-pass --update-freq 2")
    logged = events(tmp_path / "board" / "train_inner")
    assert {2, 4} == logged["loss"].keys()
    names = {name for name in logged if name.startswith(("encoder_c", "decoder_c"))}
    # Both coefficients of 2 passes of: 2 blocks with 2 sublayers and the NLL, 3 blocks with 3 and the NLL.
    assert len(names) == 2 * 2 * (2 * 3 + 3 * 4)
    parameter = "decoder.layers.1.blocks.0.cross_attn_residual.coefficients.residual"
    for step, name in ((2, "checkpoint1.pt"), (4, "checkpoint2.pt")):
        offsets = load(tmp_path, name)["model"][parameter]
        assert offsets.abs().min() > 1e-4
        for index in (0, 1):
            value = logged[f"decoder_c2/block2_cross_attn_pass_{index + 1}"][step]
            assert value == pytest.approx(1 + offsets[index, 0].item())
    assert '"gnorm"' in caplog.text and "cross_attn_pass" not in caplog.text


def test_the_first_process_logs_alone(data, tmp_path):
    """Two processes: each value is written once, by one writer."""
    words = f"--max-update 2 --log-interval 1 --tensorboard-logdir {tmp_path / 'board'}"
    train_in_two(data, tmp_path / "run", words)
    folder = tmp_path / "board" / "train_inner"
    assert len(list(folder.glob("events*"))) == 1
    assert events(folder)["encoder_c1/block1_ffn_pass_all"].keys() == {1, 2}


def test_nothing_is_read_without_tensorboard(data, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(coefficients, "scalars", lambda model: calls.append(model) or {})
    train(data, tmp_path, "--max-update 2 --log-interval 1 --log-format json")
    assert not calls
