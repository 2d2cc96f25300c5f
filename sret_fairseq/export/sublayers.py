"""The sublayers of a block as ONNX operators. The stream is (N, C): all tokens of all sentences below one another."""

from typing import Any, List, NamedTuple, Optional, Tuple

import numpy as np
from torch import Tensor, nn

from sret_fairseq.errors import require
from sret_fairseq.export.applications import Application
from sret_fairseq.export.graph import Graph

LEAST_SCALE = 1e-3


def array(parameter: Tensor) -> np.ndarray:
    """A parameter in float32, whatever it was trained in."""
    return parameter.detach().float().cpu().numpy()


def flat(graph: Graph, x: str, channels: int) -> str:
    """(..., C) -> (N, C)."""
    return graph.op("Reshape", x, graph.integers(-1, channels))


def linear(graph: Graph, x: str, layer: nn.Linear) -> str:
    """A linear layer."""
    return graph.linear(x, array(layer.weight), None if layer.bias is None else array(layer.bias))


def norm(graph: Graph, x: str, layer_norm: nn.Module, scale: float = 1.0) -> str:
    """LayerNorm of ``scale * x``: that of x, but for an epsilon that is small to x as it was to ``scale * x``."""
    weight, bias = graph.constant(array(layer_norm.weight)), graph.constant(array(layer_norm.bias))
    epsilon = float(layer_norm.eps) / scale**2
    return graph.op("LayerNormalization", x, weight, bias, axis=-1, epsilon=epsilon)


def activation(graph: Graph, x: str, name: str) -> str:
    """One of fairseq's ``--activation-fn``."""
    if name == "relu_squared":
        positive = graph.op("Relu", x)
        return graph.op("Mul", positive, positive)
    if name in ("gelu_accurate", "gelu_fast"):
        return graph.op("Gelu", x, approximate="tanh")
    plain = {"relu": "Relu", "gelu": "Gelu", "tanh": "Tanh", "linear": "Identity"}
    require(name in plain, f"--activation-fn {name} cannot be exported; only models with another one can.")
    return graph.op(plain[name], x)


class Stream(NamedTuple):
    """The stream, ``scale * x``. What c1 multiplies it by is kept in the scale, which costs nothing when translating.

    Attributes:
        x: (N, C).
        scale: above 0.
    """

    x: str
    scale: float = 1.0


def factors(connection: nn.Module, pass_index: int) -> Tuple[np.ndarray, np.ndarray]:
    """c1 and c2 of a residual connection in a pass: (1,) or (C,) each."""
    coefficients = connection.coefficients
    row = coefficients.row(pass_index)
    identity, residual = (
        np.zeros(1) if offsets is None else offsets.detach().double().cpu().numpy()[row]
        for offsets in (coefficients.identity, coefficients.residual)
    )
    return 1 + coefficients.scale * identity, coefficients.scale * (1 + residual)


def enter(graph: Graph, stream: Stream, connection: nn.Module) -> str:
    """What the function of a sublayer reads of the stream."""
    if connection.normalize_before:
        return norm(graph, stream.x, connection.layer_norm, stream.scale)
    return unscaled(graph, stream)


def unscaled(graph: Graph, stream: Stream) -> str:
    """The stream itself."""
    return graph.scaled(stream.x, np.full(1, stream.scale))


def times(graph: Graph, stream: Stream, factor: np.ndarray) -> Stream:
    """The stream times c1; in its scale if that stays a handy positive number."""
    scale = stream.scale * float(factor[0])
    if factor.size == 1 and LEAST_SCALE <= scale <= 1 / LEAST_SCALE:
        return Stream(stream.x, scale)
    return Stream(graph.scaled(stream.x, stream.scale * factor))


def leave(graph: Graph, stream: Stream, hidden: str, last: nn.Linear, connection: nn.Module, pass_index: int) -> Stream:
    """The stream behind a sublayer whose last layer reads ``hidden``."""
    c1, c2 = factors(connection, pass_index)
    weight, bias = array(last.weight), array(last.bias)
    stream = times(graph, stream, c1)
    c2 = c2 / stream.scale
    if c2.size == 1:
        branch = graph.linear(hidden, weight, bias, float(c2[0]))
    else:
        branch = graph.scaled(graph.linear(hidden, weight, bias), c2)
    x = graph.op("Add", stream.x, branch)
    if connection.normalize_before:
        return Stream(x, stream.scale)
    return Stream(norm(graph, x, connection.layer_norm, stream.scale))


def feed_forward(
    graph: Graph, stream: Stream, mlp: nn.Module, connection: nn.Module, name: str, pass_index: int
) -> Stream:
    """A sublayer with a two-layer perceptron: the FFN, or an NLL."""
    hidden = graph.linear(enter(graph, stream, connection), array(mlp.fc1.weight), array(mlp.fc1.bias))
    return leave(graph, stream, activation(graph, hidden, name), mlp.fc2, connection, pass_index)


def perceptrons(graph: Graph, stream: Stream, application: Application, cfg: Any) -> Stream:
    """The FFN at the end of a block, and the NLL behind it."""
    part, pass_index, nll = application.block, application.pass_index, application.projection
    stream = feed_forward(graph, stream, part.ffn, part.ffn_residual, cfg.activation_fn, pass_index)
    return feed_forward(graph, stream, nll.mlp, nll.residual, "gelu", pass_index) if cfg.nll_ratio > 0 else stream


def final_norm(graph: Graph, stream: Stream, layer_norm: Optional[nn.Module]) -> str:
    """What a side returns: the stream, normalised if it has a LayerNorm of its own."""
    if layer_norm is None:
        return unscaled(graph, stream)
    return norm(graph, stream.x, layer_norm, stream.scale)


def split_heads(
    graph: Graph, x: str, projection: nn.Linear, parts: int, heads: int, rows: str, query: bool
) -> List[str]:
    """Stacked projections, and their heads: (N, C) -> ``parts`` times (1, B, H, T, D).

    Args:
        rows: the vector (B, T).
        query: whether the first part is the queries, which then bear attention's scale.
    """
    weight, bias = array(projection.weight), array(projection.bias)
    channels = weight.shape[0] // parts
    width = channels // heads
    if query:
        scale = np.ones(weight.shape[0], dtype=np.float32)
        scale[:channels] = width**-0.5
        weight, bias = weight * scale[:, None], bias * scale
    shape = graph.op("Concat", rows, graph.integers(parts, heads, width), axis=0)
    stacked = graph.op("Reshape", graph.linear(x, weight, bias), shape)
    stacked = graph.op("Transpose", stacked, perm=[2, 0, 3, 1, 4])
    return [stacked] if parts == 1 else list(graph.ops("Split", [stacked], parts, axis=0, num_outputs=parts))


def attend(graph: Graph, query: str, transposed_keys: str, values: str, mask: str, channels: int) -> str:
    """Attention, and its heads joined: queries (1, B, H, T, D), keys (1, B, H, D, S) -> (N, C)."""
    scores = graph.op("Add", graph.op("MatMul", query, transposed_keys), mask)
    out = graph.op("MatMul", graph.op("Softmax", scores, axis=-1), values)
    return flat(graph, graph.op("Transpose", out, perm=[0, 1, 3, 2, 4]), channels)


def transposed(graph: Graph, keys: str) -> str:
    """(1, B, H, S, D) -> (1, B, H, D, S)."""
    return graph.op("Transpose", keys, perm=[0, 1, 2, 4, 3])


def minus_infinity_unless(graph: Graph, allowed: str) -> str:
    """A boolean mask as what attention adds to its scores."""
    return graph.op("Where", allowed, graph.constant(0.0), graph.constant(-np.inf))
