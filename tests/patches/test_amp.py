"""--amp divides the gradients by the loss's scale once: the update is that without it, to the bit."""

import argparse
from types import SimpleNamespace

import pytest
import torch
from fairseq.optim.adam import FairseqAdam, FairseqAdamConfig
from fairseq.optim.amp_optimizer import AMPOptimizer
from fairseq.optim.sgd import SGD

SCALE = 1024.0
BUILDERS = {
    "sgd": lambda parameters: SGD(argparse.Namespace(lr=[0.1], momentum=0.0, weight_decay=0.0), parameters),
    "adam": lambda parameters: FairseqAdam(
        FairseqAdamConfig(lr=[0.1], adam_eps=1e-3, adam_betas="(0.9, 0.999)"), parameters
    ),
}


def scaled(name, parameter):
    """An optimizer under fairseq's wrapper for --amp, with a scaler for the CPU: fairseq's own needs a GPU."""
    common = SimpleNamespace(fp16_init_scale=SCALE, min_loss_scale=1e-4)
    config = SimpleNamespace(optimizer=None, common=common)
    optimizer = AMPOptimizer(config, [parameter], BUILDERS[name]([parameter]))
    optimizer._grad_scaler = torch.amp.GradScaler("cpu", init_scale=SCALE)
    return optimizer


def loss(weight):
    return (weight * torch.tensor([0.5, -1.0, 0.25])).sum()


@pytest.mark.parametrize("name", BUILDERS)
def test_one_update(name):
    found = torch.nn.Parameter(torch.zeros(3))
    optimizer = scaled(name, found)
    optimizer.backward(loss(found))
    assert found.grad[0] == 0.5 * SCALE
    assert optimizer.clip_grad_norm(0.0) == pytest.approx(1.3125**0.5)
    optimizer.step()

    expected = torch.nn.Parameter(torch.zeros(3))
    plain = BUILDERS[name]([expected])
    loss(expected).backward()
    plain.step()
    assert torch.equal(found, expected) and found.abs().min() > 0.01


def test_an_overflow_leaves_the_weights():
    """The update is left out, and the scale halved."""
    weight = torch.nn.Parameter(torch.zeros(3))
    optimizer = scaled("sgd", weight)
    optimizer.backward(loss(weight) * float("inf"))
    optimizer.clip_grad_norm(0.0)
    optimizer.step()
    assert not weight.any() and optimizer.scaler.get_scale() == SCALE / 2
