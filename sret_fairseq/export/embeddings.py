"""Tokens and places as ONNX operators: what stands before the first block."""

import math

import numpy as np
import torch
from onnx import TensorProto
from torch import nn

from sret_fairseq.export.graph import Graph
from sret_fairseq.export.sublayers import array, flat, linear, norm


def embed(graph: Graph, side: nn.Module, tokens: str, places: str) -> str:
    """The stream before the first block.

    Args:
        side: the encoder or the decoder.
        tokens: (B, T).
        places: (T,), from 0; (1,) where all tokens have the same.

    Returns:
        (N, C), N = B * T.
    """
    x = graph.embedding(array(side.embed_tokens.weight), tokens)
    x = graph.scaled(x, np.asarray(side.embed_scale, dtype=np.float32))
    width = side.embed_tokens.weight.size(1)
    if getattr(side, "project_in_dim", None) is not None:
        width = side.project_in_dim.weight.size(0)
        x = linear(graph, flat(graph, x, side.embed_tokens.weight.size(1)), side.project_in_dim)
        x = graph.op("Reshape", x, graph.op("Concat", graph.op("Shape", tokens), graph.integers(width), axis=0))
    if side.embed_positions is not None:
        x = graph.op("Add", x, positions(graph, side.embed_positions, places))
    if side.layernorm_embedding is not None:
        x = norm(graph, x, side.layernorm_embedding)
    return flat(graph, x, width)


def positions(graph: Graph, module: nn.Module, places: str) -> str:
    """fairseq's embeddings of places, (T,) -> (T, C): a table that was learnt, or sines and cosines."""
    places = graph.op("Add", places, graph.integers(module.padding_idx + 1))
    if isinstance(module, nn.Embedding):
        return graph.embedding(array(module.weight), places)
    half, odd = divmod(module.embedding_dim, 2)
    # By torch, as in fairseq: at place 1000 the last bit of a frequency is 1e-4 of an angle.
    frequencies = torch.exp(torch.arange(half, dtype=torch.float) * -(math.log(10000) / (half - 1))).numpy()
    column = graph.op("Unsqueeze", graph.op("Cast", places, to=TensorProto.FLOAT), graph.integers(1))
    angles = graph.op("Mul", column, graph.constant(frequencies))
    table = graph.op("Concat", graph.op("Sin", angles), graph.op("Cos", angles), axis=1)
    return graph.op("Pad", table, graph.integers(0, 0, 0, odd)) if odd else table
