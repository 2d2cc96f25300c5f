"""Floating-point operations, and pairs of timed functions."""

import argparse

import torch
import torch.nn.functional as F

from benchmarks import devices


def test_flops_of_a_matrix_product():
    """Two for each multiplication with its addition; three such products in forward and backward."""
    x, weight = torch.randn(5, 7, requires_grad=True), torch.randn(7, 11, requires_grad=True)
    assert devices.flops(lambda: x @ weight) == 2 * 5 * 7 * 11
    assert devices.flops(lambda: (x @ weight).sum().backward()) == 3 * 2 * 5 * 7 * 11


def test_flops_of_fused_attention_on_a_cpu():
    """Forward two products of T x S x D, which torch's own counter does not see on a CPU; backward five."""
    batch, heads, queries, keys, width = 2, 3, 5, 7, 16
    query = torch.randn(batch, heads, queries, width, requires_grad=True)
    key, value = (torch.randn(batch, heads, keys, width, requires_grad=True) for _ in range(2))
    product = 2 * batch * heads * queries * keys * width

    def forward():
        return F.scaled_dot_product_attention(query, key, value)

    assert devices.flops(forward) == 2 * product
    assert devices.flops(lambda: forward().sum().backward()) == (2 + 5) * product


def test_compare_measures_both_equally():
    """Counted once, warmed up once, then as many calls of A as of B, and the work a second is positive."""
    called = []
    runs = [lambda name=name: called.append(name) for name in "AB"]
    settings = argparse.Namespace(device="cpu", pairs=3, quick=True)
    comparison = devices.compare("test", runs, work=10, unit="tokens/s", settings=settings)
    assert "".join(called) == "AB" + "AB" + "AB" * 3
    assert len(comparison.a) == len(comparison.b) == 3 and min(comparison.a + comparison.b) > 0
    assert comparison.utilisation is None


def test_compare_repeats_short_calls_equally(monkeypatch):
    """A sample lasts long enough for the slower and the faster one: both repeat as often as the faster one needs."""
    called = []
    costs = {"A": 0.1, "B": 0.05}
    monkeypatch.setattr(devices, "seconds", fake_clock(called, costs))
    runs = [lambda name=name: called.append(name) for name in "AB"]
    settings = argparse.Namespace(device="cpu", pairs=1, quick=False)
    comparison = devices.compare("test", runs, work=10, unit="tokens/s", settings=settings)
    assert called[-8:] == ["A"] * 4 + ["B"] * 4
    assert (comparison.a, comparison.b) == ([10 / 0.1], [10 / 0.05])


def fake_clock(called, costs):
    """``devices.seconds``, with a cost for each call that is noted in ``called``."""

    def seconds(run, device):
        before = len(called)
        run()
        return sum(costs[name] for name in called[before:])

    return seconds
