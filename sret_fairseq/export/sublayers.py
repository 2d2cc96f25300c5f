"""The sublayers of a block as ONNX operators. The stream is (N, C): all tokens of all sentences below one another."""

from typing import Any, List, Tuple

import numpy as np
from torch import Tensor, nn

from sret_fairseq.errors import require
from sret_fairseq.export.applications import Application
from sret_fairseq.export.graph import Graph


def array(parameter: Tensor) -> np.ndarray:
    """A parameter in float32, whatever it was trained in."""
    return parameter.detach().float().cpu().numpy()


def flat(graph: Graph, x: str, channels: int) -> str:
    """(..., C) -> (N, C)."""
    return graph.op("Reshape", x, graph.integers(-1, channels))


def linear(graph: Graph, x: str, layer: nn.Linear) -> str:
    """A linear layer."""
    return graph.linear(x, array(layer.weight), None if layer.bias is None else array(layer.bias))


def norm(graph: Graph, x: str, layer_norm: nn.Module) -> str:
    """LayerNorm."""
    weight, bias = graph.constant(array(layer_norm.weight)), graph.constant(array(layer_norm.bias))
    return graph.op("LayerNormalization", x, weight, bias, axis=-1, epsilon=float(layer_norm.eps))


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


def factors(connection: nn.Module, pass_index: int) -> Tuple[np.ndarray, np.ndarray]:
    """c1 and c2 of a residual connection in a pass: (1,) or (C,) each."""
    coefficients = connection.coefficients
    row = min(pass_index, coefficients.passes - 1)
    identity, residual = (
        np.zeros(1) if offsets is None else offsets.detach().double().cpu().numpy()[row]
        for offsets in (coefficients.identity, coefficients.residual)
    )
    return 1 + coefficients.scale * identity, coefficients.scale * (1 + residual)


def enter(graph: Graph, x: str, connection: nn.Module) -> str:
    """What the function of a sublayer reads of the stream."""
    return norm(graph, x, connection.layer_norm) if connection.normalize_before else x


def leave(graph: Graph, x: str, hidden: str, last: nn.Linear, connection: nn.Module, pass_index: int) -> str:
    """The stream behind a sublayer whose last layer reads ``hidden``. That layer takes in c2 if all passes share it."""
    c1, c2 = factors(connection, pass_index)
    weight, bias = array(last.weight), array(last.bias)
    if connection.coefficients.passes == 1:
        branch = graph.linear(hidden, (weight * c2[:, None]).astype(np.float32), bias * c2)
    else:
        branch = graph.scaled(graph.linear(hidden, weight, bias), c2)
    x = graph.op("Add", graph.scaled(x, c1), branch)
    return x if connection.normalize_before else norm(graph, x, connection.layer_norm)


def feed_forward(graph: Graph, x: str, mlp: nn.Module, connection: nn.Module, name: str, pass_index: int) -> str:
    """A sublayer with a two-layer perceptron: the FFN, or an NLL."""
    hidden = graph.linear(enter(graph, x, connection), array(mlp.fc1.weight), array(mlp.fc1.bias))
    return leave(graph, x, activation(graph, hidden, name), mlp.fc2, connection, pass_index)


def perceptrons(graph: Graph, x: str, application: Application, cfg: Any) -> str:
    """The FFN at the end of a block, and the NLL behind it."""
    part, pass_index, nll = application.block, application.pass_index, application.projection
    x = feed_forward(graph, x, part.ffn, part.ffn_residual, cfg.activation_fn, pass_index)
    return feed_forward(graph, x, nll.mlp, nll.residual, "gelu", pass_index) if cfg.nll_ratio > 0 else x


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
