"""The counts of operations, exactly: they depend on no machine, so that each one more is seen here."""

import pytest
import torch

from benchmarks import models, operations
from benchmarks.counting import count
from sret_fairseq import encoder


def test_counts_what_computes():
    """A product and a sum; no view, no empty tensor, and backward's operations as well."""
    x, weight = torch.randn(2, 3, requires_grad=True), torch.randn(4, 3)
    counted = count(lambda: (torch.mm(x, weight.t()) + 1).sum().backward())
    assert counted.by_name == {"aten::mm": 2, "aten::add": 1, "aten::sum": 1, "aten::ones_like": 1}
    assert counted.total == 5 and counted.waits == 0
    assert count(lambda: torch.empty(3, 4).view(12).detach()[2:]).total == 0


def test_counts_where_the_host_waits():
    """A number read, rows picked by a mask, a comparison; no look-up by numbers."""
    x, rows = torch.randn(5), torch.tensor([1, 3])
    for run in (lambda: x.sum().item(), lambda: x[x > 9], lambda: torch.equal(x, x), lambda: x.masked_select(x > 0)):
        assert count(run).waits == 1
    assert count(lambda: x[rows] + x.index_select(0, rows)).waits == 0


# Operations of forward, loss and backward; of updates, adam and fused_adam; of a decoding step; synchronisations.
COUNTS = {
    "defaults": (1433, 3985, 1494, 196, 1, 6),
    "no NLL": (1061, 2557, 1122, 166, 1, 6),
    "bare": (766, 1932, 827, 166, 1, 6),
}


@pytest.mark.parametrize("variant", COUNTS)
def test_counts(variant, monkeypatch):
    """Of B at tiny size."""
    monkeypatch.setattr(encoder, "GATHER_FROM", 96)  # as it is outside of the tests
    found = operations.counts(operations.VARIANTS[variant], ["adam", "fused_adam"])
    assert tuple(round(number) for number in found.values()) == COUNTS[variant]


def test_counts_of_fairseq():
    """What the ratios are of: fairseq's transformer."""
    found = operations.counts(models.A, ["adam"])
    assert tuple(found.values()) == (1098, 3980, 241, 8, 5)
