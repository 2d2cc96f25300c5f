"""Invariant 9: gradients reach every parameter, and checkpointed activations do not change them.

Under DDP: integration/test_distributed.py.
"""

import pytest
import torch

from support.models import COMBINATIONS, PAD, build_sret, logits, pad, source, target

SOURCES = pad([source(7), source(11, seed=1), source(1, seed=2), source(9, seed=3)], left=True)
TARGETS = pad([target(9), target(4, seed=1), target(6, seed=2), target(8, seed=3)])


def gradients(model, sources=SOURCES, targets=TARGETS):
    """Gradients by name after one step's backward, in float64, with the random numbers of seed 5."""
    model.train().double()
    torch.manual_seed(5)
    out = logits(model, sources, targets).log_softmax(-1)
    (out * torch.linspace(-1, 1, out.size(-1)))[targets.ne(PAD)].sum().backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("options", COMBINATIONS.values(), ids=COMBINATIONS)
def test_gradients(options):
    """They reach every weight, projection and coefficient; checkpointed activations, computed anew with the same pass,
    slices and masks, give the same ones, with dropout and random slices on."""
    plain, checkpointed = (gradients(build_sret(checkpoint_activations=kept, **options)) for kept in (False, True))
    for name, gradient in plain.items():
        if options.get("no_cross_attention") and name.startswith("encoder."):
            assert gradient is None and (checkpointed[name] is None or not checkpointed[name].any())
            continue  # a decoder that never looks at the encoder
        assert gradient.isfinite().all() and gradient.abs().max() > 0, name
        torch.testing.assert_close(checkpointed[name], gradient, atol=1e-9, rtol=1e-9, msg=name)
