"""A checkpoint run with other numbers of passes than it was trained with."""

import argparse

import pytest
import torch

from sret_fairseq.errors import OptionError
from sret_fairseq.model import SretTransformerModel
from sret_fairseq.summary import summary_lines
from support import models
from support.models import Task, build_sret, logits, pad, source, target

SOURCES = pad([source(7), source(11, seed=1)], left=True)
TARGETS = pad([target(9), target(4, seed=1)])
TRAINED = {"encoder_recursions": 3, "decoder_recursions": 2, "encoder_slices": "2,3,1"}
KINDS = {
    "defaults": {},
    "per-pass": {"residual_coefficients_per_pass": True},
    "cycle": {"encoder_recursion_span": 2, "decoder_recursion_span": 4, "recursion_reverse": True},
    "no-nll": {"nll_ratio": 0.0},
    "post-norm": {"encoder_normalize_before": False, "decoder_normalize_before": False},
}


def rerun(model, **overrides):
    """The model as a checkpoint's options and weights make it again, with overrides."""
    args = argparse.Namespace(**vars(model.args))
    for name, value in overrides.items():
        setattr(args, name, value)
    again = SretTransformerModel.build_model(args, Task())
    again.load_state_dict(model.state_dict())
    return again.eval()


def trained(**options):
    """A model as after training: its args are those that a checkpoint would hold."""
    torch.manual_seed(0)
    args = argparse.Namespace(**dict(models.SIZES, **TRAINED, **options))
    model = SretTransformerModel.build_model(args, Task())
    model.args = args
    for name, parameter in model.named_parameters():
        if ".coefficients." in name:
            torch.nn.init.uniform_(parameter, -0.3, 0.3)
    return model.eval()


@pytest.mark.parametrize("kind", KINDS)
def test_fewer_passes_equal_a_model_built_with_fewer(kind):
    """The first passes with their projections, coefficients and slices are what a shallower model of them would be."""
    model = trained(**KINDS[kind])
    shallow = rerun(model, encoder_recursions=2, decoder_recursions=1)
    sizes = {"encoder_recursions": 2, "decoder_recursions": 1, "encoder_slices": "2,3"}
    built = build_sret(**{**KINDS[kind], **sizes})
    weights = {
        name: model.state_dict()[name][: len(tensor)] if ".coefficients." in name else model.state_dict()[name]
        for name, tensor in built.state_dict().items()
    }
    built.load_state_dict(weights)
    torch.testing.assert_close(logits(shallow, SOURCES, TARGETS), logits(built, SOURCES, TARGETS), atol=1e-5, rtol=0)
    assert (logits(shallow, SOURCES, TARGETS) - logits(model, SOURCES, TARGETS)).abs().max() > 1e-3


def test_fewer_passes_decode_incrementally():
    """The shallower model agrees with itself step by step, with caches for its own passes only."""
    shallow = rerun(trained(), encoder_recursions=1, decoder_recursions=1)
    full = logits(shallow, SOURCES, TARGETS)
    encoder_out, state = shallow.encoder(SOURCES, None), {}
    for step in range(4):
        out = shallow.decoder(TARGETS[:, : step + 1], encoder_out=encoder_out, incremental_state=state)[0]
        torch.testing.assert_close(out[:, 0], full[:, step], atol=2e-5, rtol=0)
    assert len(state) == 2 * models.SIZES["decoder_layers"] + 1  # and the table of beams


@pytest.mark.parametrize("side", ["encoder", "decoder"])
def test_more_passes_are_refused(side):
    """Nobody trained them: one sentence that tells the way round."""
    model = trained()
    with pytest.raises(OptionError, match=f"--{side}-recursions 5 is more than .* 'allow_untrained_passes': True"):
        rerun(model, **{f"{side}_recursions": 5})


@pytest.mark.parametrize("kind", KINDS)
def test_more_passes_repeat_the_last_one_when_allowed(kind):
    """With the explicit flag pass 4 takes the projection, coefficients and slices of pass 3."""
    options = KINDS[kind]
    model = trained(**options)
    deep = rerun(model, encoder_recursions=4, allow_untrained_passes=True)
    built = build_sret(**{**options, **TRAINED, "encoder_recursions": 4})
    weights = {}
    for name in built.state_dict():
        tensor = model.state_dict().get(name.replace(".projections.3.", ".projections.2."))
        if ".encoder." in f".{name}" and ".coefficients." in name and tensor.size(0) == 3:
            tensor = torch.cat([tensor, tensor[2:]])
        weights[name] = tensor
    built.load_state_dict(weights)
    torch.testing.assert_close(logits(deep, SOURCES, TARGETS), logits(built, SOURCES, TARGETS), atol=1e-5, rtol=0)


def test_the_log_says_which_passes_run():
    """Fewer: the first ones with their NLLs. More: the last one again."""
    shallow = "\n".join(summary_lines(rerun(trained(), encoder_recursions=2)))
    assert "trained with 3 passes, of which the first 2 run, with their NLLs" in shallow
    alone = "\n".join(summary_lines(rerun(trained(), encoder_recursions=1)))
    assert "trained with 3 passes, of which the first runs, with its NLL" in alone and "x 1 pass = " in alone
    deep = "\n".join(summary_lines(rerun(trained(), decoder_recursions=4, allow_untrained_passes=True)))
    assert "trained with 2 passes, the others repeat the last one with its NLL" in deep
