"""Half precision: fairseq's options as far as a CPU goes, and the model itself in float16 and bfloat16."""

import pytest
import torch

from support.models import PAD, build_sret, generate, logits, pad, source, target
from support.training import assert_same_weights, train, weights_of

SOURCES = pad([source(7), source(11, seed=1), source(2, seed=2)], left=True)
TARGETS = pad([target(9), target(4, seed=1), target(6, seed=2)])
SHORT = "--max-update 4 --lr 0.0005"


@pytest.fixture(scope="module")
def float32(data, tmp_path_factory):
    """The weights of a training in float32."""
    return train(data, tmp_path_factory.mktemp("float32"), SHORT)["model"]


# --fp16 with flat gradients asks for the current GPU.
PRECISIONS = {
    "fp16": ("--fp16 --fp16-no-flatten-grads", {}),
    "memory-efficient fp16": ("--memory-efficient-fp16", {}),
    "bf16": ("--bf16", {}),
    "memory-efficient bf16": ("--memory-efficient-bf16", {}),
}


@pytest.mark.parametrize("words, settings", PRECISIONS.values(), ids=PRECISIONS)
def test_training_follows_float32(words, settings, data, float32, tmp_path):
    """Four updates end near those in float32, not on them, and every residual coefficient has moved by steps that a
    bfloat16 of 1 would swallow."""
    weights = weights_of(train(data, tmp_path, f"{SHORT} {words}", common=settings)["model"])
    distances = []
    for name, weight in weights.items():
        assert weight.isfinite().all()
        if ".coefficients." in name:
            assert 0 < weight.abs().max() < 0.1, name
        distances.append((weight.float() - float32[name]).abs().max())
    assert 0 < max(distances) < 0.01  # Adam's four steps of 0.0005 may differ in sign; bfloat16 rounds by 0.004 at 1


def test_amp_on_a_cpu_is_float32(data, float32, tmp_path):
    """fairseq's --amp opens autocast for GPUs only: on a CPU the training is that in float32."""
    assert_same_weights(train(data, tmp_path, f"{SHORT} --amp")["model"], float32)


TYPES = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
TOLERANCE = {torch.float16: 0.02, torch.bfloat16: 0.15}


def normalised(model):
    """Log-probabilities of the real tokens in float32."""
    return logits(model, SOURCES, TARGETS)[TARGETS.ne(PAD)].float().log_softmax(-1)


@TYPES
def test_forward_and_backward(dtype):
    """The model as a whole in half precision: near float32, gradients finite and nowhere absent."""
    expected = normalised(build_sret(dropout=0.0))
    model = build_sret(dropout=0.0).to(dtype)
    out = normalised(model)
    torch.testing.assert_close(out, expected, atol=TOLERANCE[dtype], rtol=0)
    model.train()
    (normalised(model) * torch.linspace(-1, 1, out.size(-1))).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.dtype == dtype and parameter.grad.isfinite().all() and parameter.grad.any(), name


def test_autocast():
    """Under torch's autocast to bfloat16 the weights stay in float32, and so do their gradients."""
    expected = normalised(build_sret(dropout=0.0))
    model = build_sret(dropout=0.0).train()
    with torch.autocast("cpu", torch.bfloat16):
        out = normalised(model)
    assert not torch.equal(out, expected)
    torch.testing.assert_close(out, expected, atol=TOLERANCE[torch.bfloat16], rtol=0)
    (out * torch.linspace(-1, 1, out.size(-1))).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.dtype == torch.float32 and parameter.grad.isfinite().all(), name


@TYPES
def test_beam_search(dtype):
    """Beam search in half precision finds a hypothesis with a finite score for each sentence."""
    for hypotheses in generate(build_sret().to(dtype), SOURCES):
        assert hypotheses[0]["tokens"].numel() > 0 and torch.isfinite(hypotheses[0]["score"])


def test_a_small_step_moves_a_coefficient_in_bfloat16():
    """Offsets from 1 are stored: a step of 1e-4, lost beside a bfloat16 of 1, arrives."""
    model = build_sret().to(torch.bfloat16).train()
    coefficients = [parameter for name, parameter in model.named_parameters() if ".coefficients." in name]
    for parameter in coefficients:
        torch.nn.init.zeros_(parameter)
    normalised(model).sum().backward()
    torch.optim.Adam(coefficients, lr=1e-4).step()
    assert (torch.ones((), dtype=torch.bfloat16) + 1e-4) == 1
    for parameter in coefficients:
        assert parameter.abs().max() > 5e-5
