"""Long loops: the deep architectures, residual branches scaled for the depth, and what stays short at 168 passes."""

import argparse
import copy

import pytest
import torch

from sret_fairseq.layers import decoder_slices, encoder_slices, layout
from sret_fairseq.layers.block import Memory
from sret_fairseq.layers.residual import ResidualCoefficients
from sret_fairseq.model import SretTransformerModel, architecture_108, architecture_1008
from sret_fairseq.summary import parameter_counts, runs, summary_lines
from support import models
from support.models import Task, build_sret

ARCHITECTURES = {
    # name: (function, virtual depth)
    "sret_transformer_108": (architecture_108, 108),
    "sret_transformer_1008": (architecture_1008, 1008),
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_deep_architectures(name):
    """At most 15 million parameters with a joint vocabulary of 10,000, the depth of their names, and a short log."""
    function, depth = ARCHITECTURES[name]
    task = Task()
    task.source_dictionary = task.target_dictionary = models.dictionary(9996)
    assert len(task.source_dictionary) == 10_000
    args = argparse.Namespace(share_all_embeddings=True)
    function(args)
    assert args.depth_scaled_residuals and args.encoder_slices == "2" and args.decoder_slices == "1"
    model = SretTransformerModel.build_model(args, task)
    assert parameter_counts(model)["total"] <= 15_000_000
    lines = summary_lines(model)
    assert f"virtual depth {depth} in total" in lines[-1]
    assert max(map(len, lines)) < 200
    for side in ("encoder", "decoder"):
        (group,) = getattr(model, side).layers  # one loop over the whole stack
        assert len(group.blocks) * getattr(args, f"{side}_recursions") == depth / 2
        assert len(group.projections) == getattr(args, f"{side}_recursions")


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_user_may_choose_otherwise(name):
    """What is given wins over the architecture, and the loop goes over all blocks that there are."""
    args = argparse.Namespace(encoder_layers=5, depth_scaled_residuals=False, encoder_slices="1", decoder_recursions=7)
    ARCHITECTURES[name][0](args)
    assert (args.encoder_layers, args.encoder_recursion_span) == (5, 5)
    assert (args.depth_scaled_residuals, args.encoder_slices, args.decoder_recursions) == (False, "1", 7)


def encoder_change(passes: int, scaled: bool) -> torch.Tensor:
    """What so many passes through two blocks add to a random stream; the weights are always the same."""
    sizes = {"nll_ratio": 0.0, "encoder_slices": "1", "encoder_recursion_span": 2, "residual_coefficients": "none"}
    one = build_sret(**sizes, encoder_recursions=1)
    model = build_sret(**sizes, encoder_recursions=passes, depth_scaled_residuals=scaled)
    model.load_state_dict(one.state_dict())
    torch.manual_seed(0)
    x = torch.randn(7, 2, 16)
    (group,) = model.encoder.layers
    return (group(x, [layout.whole_sentences(None, False)] * passes * 2, Memory(None, None, None))[0] - x).detach()


def test_scaled_residuals_change_the_stream_as_one_pass_does():
    """However many passes: unscaled ones add up."""
    one = encoder_change(1, scaled=False).norm()
    assert torch.equal(encoder_change(1, scaled=True), encoder_change(1, scaled=False))
    for passes in (8, 64, 256):
        assert 0.7 < encoder_change(passes, scaled=True).norm() / one < 1.5
    assert encoder_change(64, scaled=False).norm() / one > 16


def test_scaled_residuals_are_euler_steps():
    """Twice the passes halve the distance from the limit, the solution of the differential equation."""
    few, more, most = (encoder_change(passes, scaled=True) for passes in (16, 32, 64))
    assert (few - more).norm() / (more - most).norm() == pytest.approx(2, rel=0.1)


def test_a_coefficient_of_the_identity_stays_bounded():
    """(1 + d1 / R) ** R stays under exp(d1), where (1 + d1) ** R is beyond all numbers."""
    passes = 1008
    module = ResidualCoefficients("identity", 1, 1, scale=1 / passes)
    torch.nn.init.constant_(module.identity, 1.0)
    x = torch.ones(1, 1, 1, dtype=torch.float64)
    for _ in range(passes):
        x = module.double().combine(x, torch.zeros_like(x), 0)
    assert 2.71 < x.item() < 2.7183


@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize("checkpointed", [False, True])
def test_half_precision_keeps_small_steps(checkpointed, graded):
    """A bfloat16 loses most of a 168th of a branch: the stream of a scaled loop is float32 inside, not outside."""
    sizes = {"encoder_recursion_span": 2, "encoder_recursions": 168, "nll_ratio": 0.0, "encoder_slices": "1"}
    model = build_sret(**sizes, depth_scaled_residuals=True, checkpoint_activations=checkpointed)
    (group,) = model.encoder.layers
    torch.manual_seed(0)
    x, layouts = torch.randn(7, 2, 16).bfloat16(), [layout.whole_sentences(None, False)] * 2 * 168
    for name, parameter in group.named_parameters():
        if name.endswith("coefficients.identity"):
            torch.nn.init.constant_(parameter, 0.3)
    group.bfloat16()
    exact = copy.deepcopy(group).float()
    with torch.set_grad_enabled(graded):
        changes = [
            layer(stream, layouts, Memory(None, None, None))[0] for layer, stream in ((group, x), (exact, x.float()))
        ]
    assert changes[0].dtype == torch.bfloat16
    change, wanted = (y.float() - x.float() for y in changes)
    assert (change - wanted).norm() / wanted.norm() < 0.03
    if graded:
        changes[0].sum().backward()
        changes[1].sum().backward()
        for (name, half), full in zip(group.named_parameters(), exact.parameters()):
            assert (half.grad.float() - full.grad).norm() <= 0.1 * full.grad.norm() + 1e-2, name


def test_the_scale_is_that_of_the_training():
    """In blocks and projections, also where a checkpoint runs fewer passes than it was trained with."""
    sizes = {"depth_scaled_residuals": True, "decoder_recursions": 5, "encoder_trained_recursions": 3}
    model = build_sret(**sizes, encoder_recursions=1)
    for side, passes in (("encoder", 3), ("decoder", 5)):
        scales = {m.scale for m in getattr(model, side).modules() if isinstance(m, ResidualCoefficients)}
        assert scales == {1 / passes}
    plain = build_sret(encoder_recursions=3)
    assert {m.scale for m in plain.modules() if isinstance(m, ResidualCoefficients)} == {1.0}


@pytest.mark.parametrize("numbers, text", [([2], "2"), ([3, 2, 2], "3, 2, 2"), ([4] + [1] * 26, "4, 1 (26 times)")])
def test_long_runs_of_slices_are_told_in_short(numbers, text):
    """A number a pass as long as that can be read."""
    assert runs(numbers) == text


def test_equal_passes_share_a_layout(monkeypatch):
    """Masks are made once for all passes that are alike: two of the encoder's, one of a decoding step's."""
    made = []
    for module, name in ((encoder_slices, "encoder_layout"), (decoder_slices, "step_layout")):
        original = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *args, f=original, n=name, **more: made.append(n) or f(*args, **more))
    padding = torch.zeros(2, 9, dtype=torch.bool)
    for layouts in (
        encoder_slices.encoder_layouts(
            padding, [2] * 168, layout.applications(168, 1, 1), "interleave", False, torch.ones(1), gather=True
        ),
        decoder_slices.decoder_layouts(
            padding,
            [1] * 168,
            layout.applications(168, 1, 1),
            16,
            True,
            torch.zeros(1, 2, 9, dtype=torch.long),
            torch.ones(1),
        ),
    ):
        assert len(layouts) == 168 and all(layouts[index] is layouts[index % 2] for index in range(168))
    assert made == ["encoder_layout"] * 2 + ["step_layout"]


@pytest.mark.slow
def test_a_deep_loop_trains_from_the_first_update():
    """Adam at 5e-4 without a warm-up on one batch: the loss falls, the gradients stay finite and of one magnitude."""
    deep = {"encoder_recursions": 27, "decoder_recursions": 27, "encoder_recursion_span": 2, "decoder_layers": 1}
    torch.manual_seed(0)
    args = argparse.Namespace(
        **{**models.SIZES, **deep, "nll_ratio": 0.25, "depth_scaled_residuals": True, "checkpoint_activations": True}
    )
    model = SretTransformerModel.build_model(args, Task()).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-4, betas=(0.9, 0.98))
    sources = models.pad([models.source(7), models.source(11, seed=1)], left=True)
    targets = models.pad([models.target(9), models.target(4, seed=1)])
    losses, norms = [], []
    for _ in range(25):
        out = models.logits(model, sources, targets[:, :-1])
        wanted = targets[:, 1:]
        loss = torch.nn.functional.cross_entropy(out.flatten(0, 1), wanted.flatten(), ignore_index=models.PAD)
        optimizer.zero_grad()
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), float("inf")).item())
        losses.append(loss.item())
        optimizer.step()
    assert losses[-1] < losses[0] - 0.3
    assert max(norms) < 5 * norms[0]
