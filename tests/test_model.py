"""Parity with fairseq's transformer, neutral coefficients, and what a state dict holds."""

import argparse

import pytest
import torch

from sret_fairseq.model import (
    base_architecture,
    iwslt_de_en_architecture,
    tiny_architecture,
    wmt_en_de_architecture,
    wmt_en_de_big_architecture,
)
from sret_fairseq.summary import parameter_counts, summary_lines
from support import models
from support.models import COMBINATIONS, build_fairseq, build_sret, logits, pad, source, target

SOURCES = pad([source(7), source(11, seed=1), source(1, seed=2)], left=True)
TARGETS = pad([target(9), target(4, seed=1), target(6, seed=2)])


@pytest.mark.parametrize("pre_norm", [True, False])
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_all_options_off_equals_fairseq(pre_norm, mode):
    """Invariant 1: the logits are those of fairseq's transformer, pre- and post-norm."""
    norm = {"encoder_normalize_before": pre_norm, "decoder_normalize_before": pre_norm}
    reference = build_fairseq(seed=1, **norm)
    model = build_sret(seed=2, **dict(COMBINATIONS["plain"], **norm))
    models.copy_fairseq_weights(model, reference)
    if mode == "train":
        for module in list(reference.modules()) + list(model.modules()):
            if hasattr(module, "p"):
                module.p = 0.0
        reference.train()
        model.train()
    real = TARGETS.ne(models.PAD)
    ours, theirs = logits(model, SOURCES, TARGETS)[real], logits(reference, SOURCES, TARGETS)[real]
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("design", ["both", "residual", "identity"])
@pytest.mark.parametrize("per_pass", [False, True])
@pytest.mark.parametrize("size", ["scalar", "channel"])
def test_initial_coefficients_change_nothing(design, per_pass, size):
    """Invariant 2: at their initial value the coefficients leave the logits as they are."""
    without = build_sret(residual_coefficients="none")
    model = build_sret(
        residual_coefficients=design, residual_coefficients_per_pass=per_pass, residual_coefficient_size=size
    )
    missing = model.load_state_dict(dict(model.state_dict(), **without.state_dict()))
    assert not missing.missing_keys
    for name, parameter in model.named_parameters():
        if ".coefficients." in name:
            torch.nn.init.zeros_(parameter)
    torch.testing.assert_close(logits(model, SOURCES, TARGETS), logits(without, SOURCES, TARGETS), atol=0, rtol=0)


@pytest.mark.parametrize("options", COMBINATIONS.values(), ids=COMBINATIONS)
def test_state_dict_holds_each_tensor_once(options):
    """Invariant 8: no weight is registered under two names; only a tied embedding may be."""
    model = build_sret(**options)
    owners = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        owners.setdefault(tensor.data_ptr(), []).append(name)
    shared = [names for names in owners.values() if len(names) > 1]
    tied = [["decoder.embed_tokens.weight", "decoder.output_projection.weight"]]
    assert shared == (tied if options.get("share_decoder_input_output_embed") else [])


def expected_counts(sizes) -> dict:
    """The formula of the parameter counts, per side: U blocks, U R projections, and coefficients for each branch.

    A Linear from m to n has m n + n parameters, a LayerNorm of width d has 2 d.
    """

    def linear(m, n):
        return m * n + n

    designs = {"both": 2, "residual": 1, "identity": 1, "none": 0}
    counts = {"blocks": 0, "NLL": 0, "coefficients": 0}
    enc = sizes["encoder_embed_dim"]
    for side in ("encoder", "decoder"):
        d, ffn = sizes[f"{side}_embed_dim"], sizes[f"{side}_ffn_embed_dim"]
        blocks, passes = sizes[f"{side}_layers"], sizes[f"{side}_recursions"]
        block = linear(d, 3 * d) + linear(d, d) + linear(d, ffn) + linear(ffn, d) + 2 * 2 * d
        branches = 2
        if side == "decoder" and not sizes.get("no_cross_attention"):
            block += linear(d, d) + linear(enc, 2 * d) + linear(d, d) + 2 * d
            branches = 3
        counts["blocks"] += blocks * block
        hidden = int(sizes["nll_ratio"] * d)
        projections = blocks * passes if hidden else 0
        counts["NLL"] += projections * (linear(d, hidden) + linear(hidden, d) + 2 * d)
        width = designs[sizes["residual_coefficients"]] * (d if sizes["residual_coefficient_size"] == "channel" else 1)
        owners = passes if sizes["residual_coefficients_per_pass"] else 1
        counts["coefficients"] += width * (blocks * branches * owners + projections)
    return counts


@pytest.mark.parametrize("options", COMBINATIONS.values(), ids=COMBINATIONS)
def test_parameter_counts_follow_the_formula(options):
    """Invariant 8: the parts count what the formula says, and add up to the total."""
    model = build_sret(**options)
    args = argparse.Namespace(**dict(models.SIZES, **options))
    base_architecture(args)
    counts = parameter_counts(model)
    assert {part: counts[part] for part in ("blocks", "NLL", "coefficients")} == expected_counts(vars(args))
    assert counts["total"] == sum(parameter.numel() for parameter in model.parameters())
    assert counts["total"] == sum(count for part, count in counts.items() if part != "total")


ARCHITECTURES = {
    # name: (width, FFN, heads, function)
    "sret_transformer": (512, 2048, 8, base_architecture),
    "sret_transformer_tiny": (128, 256, 4, tiny_architecture),
    "sret_transformer_iwslt_de_en": (512, 1024, 4, iwslt_de_en_architecture),
    "sret_transformer_wmt_en_de": (512, 2048, 8, wmt_en_de_architecture),
    "sret_transformer_wmt_en_de_big": (1024, 4096, 16, wmt_en_de_big_architecture),
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_architectures(name):
    """The five architectures have the sizes of their namesakes, virtual depth 6+6, pre-norm, and slices as passes."""
    width, ffn, heads, function = ARCHITECTURES[name]
    args = argparse.Namespace(arch=name)
    function(args)
    for side in ("encoder", "decoder"):
        assert getattr(args, f"{side}_embed_dim") == width
        assert getattr(args, f"{side}_ffn_embed_dim") == ffn
        assert getattr(args, f"{side}_attention_heads") == heads
        assert getattr(args, f"{side}_layers") * getattr(args, f"{side}_recursions") == 6
        assert getattr(args, f"{side}_normalize_before") is True
    assert args.encoder_slices == str(args.encoder_recursions) == "2"


def test_summary_tells_parameters_depth_and_slices():
    """The lines logged at start carry every number that the log promises."""
    text = "\n".join(summary_lines(build_sret(encoder_recursions=3, encoder_slices="3,2")))
    for part in ("total", "embeddings", "blocks", "NLL", "coefficients"):
        assert f"{part} " in text
    assert "encoder: 2 distinct blocks x 3 passes = virtual depth 6" in text
    assert "decoder: 4 distinct blocks x 2 passes = virtual depth 8" in text
    assert "virtual depth 14 in total" in text
    assert "slices by pass: 3, 2, 2" in text
