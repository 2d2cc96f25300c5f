"""Dropout by few draws: each element dropped with the probability asked for, independently, and its gradient."""

import pytest
import torch

from sret_fairseq.layers.dropout import STEPS, Dropout, random_mask


def test_each_element_is_dropped_with_its_probability_whatever_the_others_are():
    """Of a million elements: the share of every fourth one, and of pairs, within four standard deviations."""
    torch.manual_seed(0)
    dropped = random_mask(torch.empty(4 * 2**18), round(0.1 * STEPS)).eq(0).double().view(-1, 4)
    count, p = dropped.size(0), round(0.1 * STEPS) / STEPS
    assert (dropped.mean(dim=0) - p).abs().max() < 4 * (p * (1 - p) / count) ** 0.5
    pairs = [dropped[:, first] * dropped[:, second] for first in range(4) for second in range(first)]
    pairs += [dropped[:-1, first] * dropped[1:, second] for first in range(4) for second in range(4)]
    for pair in pairs:
        assert (pair.mean() - p**2).abs() < 4 * (p**2 * (1 - p**2) / count) ** 0.5


@pytest.mark.parametrize("p", [0.1, 0.5, 1 / STEPS, 1 - 1 / STEPS])
def test_values_and_gradient(p):
    """What stays is scaled so that the mean is kept; the gradient is scaled alike, and 0 where a value is dropped."""
    torch.manual_seed(1)
    x = torch.rand(7, 3, 5, requires_grad=True)  # no multiple of four
    out = Dropout(p).train()(x)
    out.backward(torch.full_like(x, 2.0))
    stays = out != 0
    scale = 1 / (1 - round(p * STEPS) / STEPS)
    torch.testing.assert_close(out, stays * x * scale)
    torch.testing.assert_close(x.grad, stays * 2.0 * scale)


def test_one_drops_everything():
    """As torch's does, without a division by 0."""
    x = torch.ones(5, requires_grad=True)
    out = Dropout(1.0).train()(x)
    out.sum().backward()
    assert not out.any() and not x.grad.any()


def test_only_in_training_or_where_fairseq_retains_it():
    """And the same seed drops the same elements."""
    x, dropout = torch.rand(100), Dropout(0.5).eval()
    assert torch.equal(dropout(x), x) and torch.equal(Dropout(0.0).train()(x), x)
    dropout.make_generation_fast_("name", retain_dropout=True)
    drawn = []
    for _ in range(2):
        torch.manual_seed(2)
        drawn.append(dropout(x))
    assert torch.equal(*drawn) and 20 < drawn[0].eq(0).sum() < 80


@pytest.mark.parametrize("change", [torch.jit.script, lambda dropout: dropout.bfloat16()])
def test_elsewhere_it_is_torchs(change):
    """Scripted, or in 16 bits: the elements that torch's drops from the same seed."""
    x = torch.rand(100).bfloat16()
    torch.manual_seed(3)
    out = change(Dropout(0.5).train())(x)
    torch.manual_seed(3)
    assert torch.equal(out, torch.nn.functional.dropout(x, 0.5))
