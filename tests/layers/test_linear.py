"""Products by oneDNN against torch's own, and where they are left to torch."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from fairseq.modules.quantization.scalar.utils import MAPPING

from sret_fairseq.layers import linear
from sret_fairseq.layers.linear import Linear, product

needs_onednn = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch was built without oneDNN")


@pytest.fixture
def by_onednn(monkeypatch):
    """Every product that may go to oneDNN does, however small and whatever the processor."""
    monkeypatch.setattr(linear, "mkl_is_slow", lambda: True)
    monkeypatch.setattr(linear, "ONEDNN_PAYS", 1)


@pytest.fixture
def no_onednn(monkeypatch):
    """oneDNN would pay, but a call of it fails."""

    def fail(*_):
        raise AssertionError("oneDNN was called")

    monkeypatch.setattr(linear, "mkl_is_slow", lambda: True)
    monkeypatch.setattr(linear, "ONEDNN_PAYS", 1)
    monkeypatch.setattr(linear, "onednn_linear", fail)


def inputs():
    """Of two and three dimensions, of one row, and not contiguous."""
    torch.manual_seed(0)
    return [torch.randn(7, 24), torch.randn(5, 2, 24), torch.randn(1, 1, 24), torch.randn(2, 5, 24).transpose(0, 1)]


@needs_onednn
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("index", range(4))
def test_equals_torch(by_onednn, index, bias):
    """The result and all gradients."""
    layer = Linear(24, 36, bias=bias)
    x = inputs()[index].requires_grad_()
    expected = F.linear(x, layer.weight, layer.bias)
    direction = torch.randn_like(expected)
    wanted = torch.autograd.grad((expected * direction).sum(), [x, *layer.parameters()])
    out = layer(x)
    assert "OneDnn" in type(out.grad_fn).__name__
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=0)
    for gradient, other in zip(torch.autograd.grad((out * direction).sum(), [x, *layer.parameters()]), wanted):
        torch.testing.assert_close(gradient, other, atol=1e-4, rtol=1e-5)


@needs_onednn
@pytest.mark.parametrize("index", range(4))
def test_packed_weight(by_onednn, index):
    """What fairseq has done before it translates: the same result from a packed weight, which no state dict holds."""
    layer = Linear(24, 36)
    x = inputs()[index]
    expected = F.linear(x, layer.weight, layer.bias)
    layer.make_generation_fast_()
    assert layer.packed is not None and list(layer.state_dict()) == ["weight", "bias"]
    with torch.no_grad():
        torch.testing.assert_close(layer(x), expected, atol=1e-5, rtol=0)


@needs_onednn
def test_product(by_onednn):
    """Matrices as they are and transposed."""
    a, b = torch.randn(5, 24), torch.randn(24, 36)
    torch.testing.assert_close(product(a, b), a @ b, atol=1e-5, rtol=0)
    torch.testing.assert_close(product(b.t(), a.t()), b.t() @ a.t(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_number_formats_are_torchs(no_onednn, dtype):
    """Only float32 is slow."""
    layer, x = Linear(24, 36).to(dtype), torch.randn(5, 24, dtype=dtype)
    torch.testing.assert_close(layer(x), F.linear(x, layer.weight, layer.bias))
    assert product(x, x.t()).dtype == dtype


def test_autocast_and_torchscript_are_torchs(no_onednn):
    """Autocast chooses the number format itself, and a scripted model knows torch's operators only."""
    layer, x = Linear(24, 36), torch.randn(5, 24)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
    torch.testing.assert_close(torch.jit.script(layer)(x), F.linear(x, layer.weight, layer.bias))


def test_small_products_and_other_processors_are_torchs(no_onednn, monkeypatch):
    """Where oneDNN does not pay, or MKL is fast, or oneDNN is switched off."""
    layer, x = Linear(24, 36), torch.randn(5, 24)
    with monkeypatch.context() as change:
        change.setattr(linear, "ONEDNN_PAYS", 5 * 24 * 36 + 1)
        layer(x)
    with monkeypatch.context() as change:
        change.setattr(linear, "mkl_is_slow", lambda: False)
        layer(x)
    with torch.backends.mkldnn.flags(enabled=False):
        layer(x)
    with pytest.raises(AssertionError, match="oneDNN was called"):
        layer(x)


def test_a_half_precision_copy_forgets_the_packed_weight(by_onednn):
    """A model may be converted after it was prepared: the packed weight is for float32 alone."""
    layer = Linear(24, 36)
    layer.make_generation_fast_()
    x = torch.randn(5, 24, dtype=torch.bfloat16)
    layer = layer.bfloat16()
    with torch.no_grad():
        torch.testing.assert_close(layer(x), F.linear(x, layer.weight, layer.bias))


@needs_onednn
def test_copies_and_new_weights(by_onednn):
    """A prepared layer can be copied, pickled and given other weights: what was packed is forgotten, not used."""
    layer, other = Linear(24, 36), Linear(24, 36)
    layer.make_generation_fast_()
    x = torch.randn(5, 24)
    with torch.no_grad():
        torch.testing.assert_close(copy.deepcopy(layer)(x), layer(x), atol=1e-5, rtol=0)
        torch.testing.assert_close(pickle.loads(pickle.dumps(layer))(x), layer(x), atol=1e-5, rtol=0)
        layer.load_state_dict(other.state_dict())
        torch.testing.assert_close(layer(x), other(x), atol=1e-5, rtol=0)


def test_compilation_is_torchs(no_onednn):
    """What torch.compile sees of a layer is torch's product."""
    layer, seen = Linear(24, 36), []

    def backend(graph, _):
        seen.extend(str(node.target) for node in graph.graph.nodes if node.op == "call_function")
        return graph.forward

    x = inputs()[1]
    found = torch.compile(layer, backend=backend, fullgraph=True)(x)
    torch.testing.assert_close(found, F.linear(x, layer.weight, layer.bias))
    assert len(seen) == 1 and "linear" in seen[0]


def test_tracing_is_torchs(no_onednn):
    """torch.jit.trace knows no fused operator of oneDNN."""
    layer, x = Linear(24, 36), torch.randn(5, 24)
    traced = torch.jit.trace(layer, x, check_trace=False)
    torch.testing.assert_close(traced(x), F.linear(x, layer.weight, layer.bias))


def test_second_derivatives_are_refused(by_onednn):
    """Rather than wrong."""
    layer, x = Linear(24, 36), torch.randn(5, 24, requires_grad=True)
    (first,) = torch.autograd.grad(layer(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


def test_quantisation_noise_finds_the_layer():
    """--quant-noise-scalar looks layers up by their class."""
    assert MAPPING[Linear] is MAPPING[torch.nn.Linear]
