"""The chunked criterion against fairseq's."""

import argparse

import pytest
import torch
from fairseq.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropyCriterion
from fairseq.models import lstm
from fairseq.modules.quantization.scalar.modules import IntLinear

from sret_fairseq.criterions import chunked
from sret_fairseq.criterions.chunked import ChunkedLabelSmoothedCrossEntropy
from sret_fairseq.criterions.distillation import SoftDistillation
from sret_fairseq.criterions.mixed_depth import MixedDepthCriterion
from sret_fairseq.errors import OptionError, TrainingError
from support.criterions import sample
from support.models import Task, build_fairseq, build_sret


def losses_and_gradients(kind, model, smoothing, **options):
    """What a criterion says of the batch, and the gradients of its loss times 3."""
    model.zero_grad()
    loss, size, logged = kind(Task(), options.pop("sentence_avg", False), smoothing, **options)(model, sample())
    (3 * loss).backward()
    numbers = {name: float(value) for name, value in logged.items()}
    return numbers, size, {name: parameter.grad for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("chunk_size", [1, 100, 2**20])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("options", [{}, {"ignore_prefix_size": 2}, {"sentence_avg": True}], ids=str)
def test_equals_fairseq(monkeypatch, chunk_size, smoothing, options):
    """Loss, likelihood, counts and every gradient, whatever the chunks; with padding in the batch."""
    monkeypatch.setitem(chunked.CHUNK_SIZE, "cpu", chunk_size)
    model = build_sret(share_decoder_input_output_embed=True).double()
    ours = losses_and_gradients(ChunkedLabelSmoothedCrossEntropy, model, smoothing, **options)
    theirs = losses_and_gradients(LabelSmoothedCrossEntropyCriterion, model, smoothing, **options)
    assert ours[0] == pytest.approx(theirs[0], rel=1e-6) and ours[1] == theirs[1]
    for name, gradient in theirs[2].items():
        torch.testing.assert_close(ours[2][name], gradient, atol=1e-6, rtol=1e-5, msg=name)


def test_serves_other_models():
    """fairseq's transformer, with a projection that is no embedding."""
    model = build_fairseq()
    ours = losses_and_gradients(ChunkedLabelSmoothedCrossEntropy, model, 0.1)
    theirs = losses_and_gradients(LabelSmoothedCrossEntropyCriterion, model, 0.1)
    assert ours[0] == pytest.approx(theirs[0], rel=1e-5)
    torch.testing.assert_close(
        ours[2]["decoder.output_projection.weight"], theirs[2]["decoder.output_projection.weight"]
    )


@pytest.mark.parametrize("dtype, tolerance", [(torch.bfloat16, 0.05), (torch.float16, 0.01)])
def test_half_precision_stays_near(dtype, tolerance):
    """In 16 bits the gradient of the embeddings is that of float32 but for rounding, however unlikely the words."""
    exact = losses_and_gradients(LabelSmoothedCrossEntropyCriterion, build_sret(), 0.1)
    half = losses_and_gradients(ChunkedLabelSmoothedCrossEntropy, build_sret().to(dtype), 0.1)
    assert half[0]["loss"] == pytest.approx(exact[0]["loss"], rel=tolerance)
    for name in ("decoder.output_projection.weight", "decoder.layer_norm.weight"):
        difference = (half[2][name].float() - exact[2][name]).norm() / exact[2][name].norm()
        assert difference < tolerance, name


def test_a_large_loss_scale_overflows_no_gradient():
    """fairseq's scale of the loss may exceed the largest float16; its product with a small gradient need not."""
    features = torch.full((3, 4), 1e-3, dtype=torch.float16)
    weight = torch.zeros(5, 4, dtype=torch.float16, requires_grad=True)
    loss, _ = chunked.ChunkedLoss.apply(features, weight, torch.tensor([0, 1, 2]), 0.1)
    (loss * 2.0**17).backward()
    expected = weight.detach().double().requires_grad_()
    chunked.ChunkedLoss.apply(features.double(), expected, torch.tensor([0, 1, 2]), 0.1)[0].backward()
    torch.testing.assert_close(weight.grad.double(), expected.grad * 2.0**17, atol=1e-3, rtol=1e-2)


def test_autocast():
    """Under autocast, where the decoder's output and its weights may differ in type, the gradients stay near."""
    options = {"decoder_output_dim": 12}  # a last projection, which autocast runs in bfloat16
    exact = losses_and_gradients(ChunkedLabelSmoothedCrossEntropy, build_sret(**options), 0.1)
    with torch.autocast("cpu", torch.bfloat16):
        cast = losses_and_gradients(ChunkedLabelSmoothedCrossEntropy, build_sret(**options), 0.1)
    assert cast[0]["loss"] == pytest.approx(exact[0]["loss"], rel=0.02)
    name = "decoder.output_projection.weight"
    assert (cast[2][name] - exact[2][name]).norm() < 0.05 * exact[2][name].norm()


def test_validation_computes_no_gradient(monkeypatch):
    """One product a chunk, the logits, and not a second one for a gradient that nobody asked for."""
    calls = []
    monkeypatch.setattr(torch, "mm", lambda a, b: calls.append(1) or a @ b)
    with torch.no_grad():
        ChunkedLabelSmoothedCrossEntropy(Task(), False, 0.1)(build_sret(), sample())
    assert len(calls) == 1


def test_evaluation_keeps_no_gradient():
    """Under no_grad, as in validation, the numbers are the same and nothing is kept."""
    model = build_sret()
    with torch.no_grad():
        loss, _, logged = ChunkedLabelSmoothedCrossEntropy(Task(), False, 0.1)(model, sample())
    trained = losses_and_gradients(ChunkedLabelSmoothedCrossEntropy, model, 0.1)[0]
    assert not loss.requires_grad and float(logged["loss"]) == pytest.approx(trained["loss"], rel=1e-6)


@pytest.mark.parametrize("smoothing", [-0.1, 1.0, float("nan")])
@pytest.mark.parametrize("kind", [ChunkedLabelSmoothedCrossEntropy, SoftDistillation, MixedDepthCriterion])
def test_label_smoothing_leaves_a_share_to_the_right_word(kind, smoothing):
    """In every criterion of this project."""
    more = {"teacher": None} if kind is SoftDistillation else {}
    with pytest.raises(OptionError, match=f"--label-smoothing {smoothing} must be from 0 to below 1"):
        kind(Task(), False, smoothing, **more)


def test_refusals():
    """What it cannot do is said in a sentence that names what can."""
    with pytest.raises(TrainingError, match="use adaptive_loss"):
        adaptive = build_sret(adaptive_softmax_cutoff="10,20")
        ChunkedLabelSmoothedCrossEntropy(Task(), False, 0.1)(adaptive, sample())
    with pytest.raises(ValueError, match="use label_smoothed_cross_entropy"):
        ChunkedLabelSmoothedCrossEntropy(Task(), False, 0.1, report_accuracy=True)(build_sret(), sample())
    sizes = argparse.Namespace(encoder_layers=1, decoder_layers=1, criterion="")
    lstm.base_architecture(sizes)
    other = lstm.LSTMModel.build_model(sizes, Task())
    with pytest.raises(TrainingError, match="trains sret_transformer and transformer alone"):
        ChunkedLabelSmoothedCrossEntropy(Task(), False, 0.1)(other, sample())
    quantised = build_sret()
    quantised.decoder.output_projection = IntLinear(24, 24, p=0.5)
    with pytest.raises(TrainingError, match="not with --quant-noise-scalar"):
        ChunkedLabelSmoothedCrossEntropy(Task(), False, 0.1)(quantised, sample())
