"""The equations of residual connections and projections, by hand."""

import pytest
import torch
import torch.nn.functional as F

from sret_fairseq.layers.residual import ResidualCoefficients, ScaledLayer, ScaledLayers, StreamSum
from support.models import build_sret


@pytest.mark.parametrize("channels", [1, 6])
@pytest.mark.parametrize("passes", [1, 3])
@pytest.mark.parametrize("design", ["both", "residual", "identity", "none"])
@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_coefficients(design, passes, channels, scale):
    """x + a ((c1 - 1) x + c2 f) with c = 1 + offset, a row of offsets for each pass or one for all."""
    torch.manual_seed(0)
    module = ResidualCoefficients(design, channels, passes, scale)
    assert sum(p.numel() for p in module.parameters()) == {"both": 2, "none": 0}.get(design, 1) * passes * channels
    for parameter in module.parameters():
        assert not parameter.any()
        torch.nn.init.normal_(parameter)
    x, branch = torch.randn(5, 2, 6), torch.randn(5, 2, 6)
    for pass_index in range(3):
        row = pass_index if passes > 1 else 0
        c1 = 1 + module.identity[row] if design in ("both", "identity") else 1
        c2 = 1 + module.residual[row] if design in ("both", "residual") else 1
        expected = x + scale * ((c1 - 1) * x + c2 * branch)
        torch.testing.assert_close(module.combine(x, branch, pass_index), expected)
        torch.testing.assert_close(module.eval().combine(x, branch, pass_index), expected)


@pytest.mark.parametrize("channels", [1, 6])
def test_gradients_of_the_sum(channels):
    """The gradient that is written out equals the numerical one."""
    torch.manual_seed(0)
    inputs = [torch.randn(3, 2, 6, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    offset = torch.randn(channels, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(StreamSum.apply, (*inputs, offset))


@pytest.mark.parametrize("channels", [1, 6])
@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_gradients_of_the_layer(channels, scale):
    """The same for a last layer that is multiplied."""
    torch.manual_seed(0)
    shapes = (6, 4), (6,), (channels,)
    inputs = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    assert torch.autograd.gradcheck(ScaledLayer.apply, (*inputs, scale))


@pytest.mark.parametrize("size", ["scalar", "channel"])
@pytest.mark.parametrize("design", ["both", "residual", "identity", "none"])
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("per_pass", [False, True])
def test_a_multiplied_layer_is_a_multiplied_branch(design, size, scaled, per_pass):
    """Results, gradients of every parameter, and how often a layer is multiplied: once a coefficient."""
    options = {
        "residual_coefficients": design,
        "residual_coefficient_size": size,
        "depth_scaled_residuals": scaled,
        "residual_coefficients_per_pass": per_pass,
        "dropout": 0.0,
    }
    connection = build_sret(**options).double().encoder.layers[0].blocks[0].ffn_residual
    last = torch.nn.Linear(5, 16, dtype=torch.float64)
    x, hidden = torch.randn(7, 2, 16, dtype=torch.float64), torch.randn(7, 2, 5, dtype=torch.float64)
    parameters = [*connection.parameters(), *last.parameters()]

    def two_passes():
        return connection.leave(connection.leave(x, hidden, last, 0), hidden, last, 1)

    with ScaledLayers(connection):
        found = two_passes()
        assert len(connection.layers) == (2 if per_pass else 1)
    assert connection.layers is None
    expected = two_passes()
    torch.testing.assert_close(found, expected)
    wanted = torch.autograd.grad(expected.square().sum(), parameters, allow_unused=True)
    for gradient, other in zip(torch.autograd.grad(found.square().sum(), parameters, allow_unused=True), wanted):
        torch.testing.assert_close(gradient, other)


def test_hooks_of_a_last_layer_are_called_in_training():
    """Forward and backward, of each pass: such a layer is not multiplied."""
    model, calls = build_sret(dropout=0.0), []
    block = model.encoder.layers[0].blocks[0]
    block.ffn.fc2.register_full_backward_hook(lambda *_: calls.append("backward"))
    block.self_attn.out_proj.register_forward_hook(lambda *_: calls.append("forward"))
    model.train().encoder(torch.tensor([[5, 6, 7, 2]]), None)["encoder_out"][0].sum().backward()
    assert sorted(calls) == ["backward", "backward", "forward", "forward"]


@pytest.mark.parametrize("channels", [1, 6])
@pytest.mark.parametrize("dtypes", [(torch.float32, torch.bfloat16), (torch.bfloat16, torch.float32)])
def test_gradients_of_mixed_precision(dtypes, channels):
    """Under autocast the stream and the branch differ in type: each gets a gradient of its own type."""
    torch.manual_seed(0)
    x, branch = (torch.randn(5, 2, 6, dtype=dtype, requires_grad=True) for dtype in dtypes)
    module = ResidualCoefficients("both", channels, 1)
    module.combine(x, branch, 0).square().sum().backward()
    for tensor, dtype in ((x, dtypes[0]), (branch, dtypes[1])):
        assert tensor.grad.dtype == dtype
    wide = [tensor.detach().float().requires_grad_() for tensor in (x, branch)]
    other = ResidualCoefficients("both", channels, 1)
    other.combine(*wide, 0).square().sum().backward()
    for one, expected in ((x, wide[0]), (branch, wide[1])):
        torch.testing.assert_close(one.grad.float(), expected.grad, atol=0.03, rtol=0.02)
    for one, expected in zip(module.parameters(), other.parameters()):
        torch.testing.assert_close(one.grad, expected.grad, atol=0.03, rtol=0.02)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_reduced_precision_keeps_small_changes(dtype):
    """An update of 1e-4, lost next to 1, stays in an offset, and its gradient is not lost either."""
    module = ResidualCoefficients("both", 1, 1).to(dtype)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(1e-4)
    assert torch.tensor(1.0, dtype=dtype) + torch.tensor(1e-4, dtype=dtype) == 1
    for parameter in module.parameters():
        assert parameter.item() == pytest.approx(1e-4, rel=0.01)
    x = torch.ones(1, 1, 1, dtype=dtype)
    module.combine(x, x, 0).sum().backward()
    assert module.identity.grad.item() == module.residual.grad.item() == 1


@pytest.mark.parametrize("dtype, offset", [(torch.bfloat16, 0.0025), (torch.float16, 0.0003)])
def test_reduced_precision_applies_small_changes(dtype, offset):
    """Coefficients that 1 + d would round to 1 act as what they are: in training, gradients and evaluation; on average
    over numbers from 1 to 2, each of which is rounded."""
    x = torch.linspace(1, 2, 4096, dtype=torch.float64).to(dtype).view(-1, 1, 1)
    nothing = torch.zeros_like(x)
    module = ResidualCoefficients("both", 1, 1).to(dtype)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(offset)
    assert torch.tensor(1.0, dtype=dtype) + torch.tensor(offset, dtype=dtype) == 1

    def change(result):
        return (result.double() - x.double()).mean().item()

    for stream, branch in ((x, nothing), (nothing, x)):
        inputs = [stream.clone().requires_grad_(), branch.clone().requires_grad_()]
        trained = module.train().combine(*inputs, 0)
        trained.backward(x)
        results = [trained, inputs[0].grad, inputs[1].grad, module.eval().combine(stream, branch, 0)]
        for result in results:
            assert change(result) == pytest.approx(1.5 * offset, rel=0.2)


@pytest.mark.parametrize("pre_norm", [True, False])
def test_projection(pre_norm):
    """x = a x + b W2 GELU(W1 LN(x)), or LN(a x + b W2 GELU(W1 x)) after post-norm blocks; W1 has r d rows."""
    model = build_sret(encoder_normalize_before=pre_norm, nll_ratio=0.5)
    projection = model.encoder.layers[0].projections[1][0]
    mlp, residual = projection.mlp, projection.residual
    assert mlp.fc1.weight.shape == (8, 16)

    def norm(value):
        return F.layer_norm(value, [16], residual.layer_norm.weight, residual.layer_norm.bias)

    x = torch.randn(7, 2, 16)
    hidden = F.linear(norm(x) if pre_norm else x, mlp.fc1.weight, mlp.fc1.bias)
    hidden = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
    branch = F.linear(hidden, mlp.fc2.weight, mlp.fc2.bias)
    c1, c2 = 1 + residual.coefficients.identity[0], 1 + residual.coefficients.residual[0]
    expected = c1 * x + c2 * branch
    torch.testing.assert_close(projection(x), expected if pre_norm else norm(expected), atol=1e-5, rtol=0)


def test_projection_drops_out_as_the_ffn_does():
    """--activation-dropout and --dropout act inside and behind the projection's perceptron in training."""
    model = build_sret(dropout=0.0, activation_dropout=0.5)
    projection = model.encoder.layers[0].projections[0][0].train()
    assert projection.mlp.dropout.p == model.encoder.layers[0].blocks[0].ffn.dropout.p == 0.5
    x = torch.randn(7, 2, 16)
    assert not torch.equal(projection(x), projection(x))
    assert build_sret(dropout=0.2).encoder.layers[0].projections[0][0].residual.dropout.p == 0.2
