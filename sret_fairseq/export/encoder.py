"""The encoder as an ONNX graph, with the keys and values that the decoder's cross-attention reads at every step.

Inputs: ``tokens`` (B, S), padded on the right. Outputs: ``encoder_mask`` (1, B, 1, 1, S), 0 at text and -inf at
padding; and for each decoder block n ``cross_keys_n`` (1, B, H, D, S) and ``cross_values_n`` (1, B, H, S, D).
"""

from typing import Any, List

from onnx import TensorProto
from torch import nn

from sret_fairseq.export import sublayers
from sret_fairseq.export.applications import Application, applications_of
from sret_fairseq.export.embeddings import embed
from sret_fairseq.export.graph import Graph, Weights
from sret_fairseq.export.sublayers import Stream


def build(model: nn.Module, weights: Weights, int8: bool) -> Graph:
    """The graph of a SretTransformerModel's encoder, with as many passes as it has been set to."""
    graph, encoder, cfg = Graph(weights, int8), model.encoder, model.cfg
    tokens = graph.input("tokens", TensorProto.INT64, ["batch", "source"])
    rows = graph.op("Shape", tokens)
    length = graph.op("Squeeze", graph.op("Gather", rows, graph.integers(1)))
    places = graph.op("Range", graph.constant(0, "int64"), length, graph.constant(1, "int64"))
    real = graph.op("Not", graph.op("Equal", tokens, graph.constant(encoder.padding_idx, "int64")))
    stream = Stream(embed(graph, encoder, tokens, places))
    for application in applications_of(encoder):
        interleaved = application.permuted and cfg.slice_permutation != "none"
        mask = attention_mask(graph, places, real, application.slices, interleaved)
        stream = apply(graph, stream, application, rows, mask, cfg)
    write_outputs(graph, model, sublayers.final_norm(graph, stream, encoder.layer_norm), rows, real)
    return graph


def apply(graph: Graph, stream: Stream, application: Application, rows: str, mask: str, cfg: Any) -> Stream:
    """A pass of a block, and the NLL behind it."""
    part, pass_index = application.block, application.pass_index
    attention, residual = part.self_attn, part.self_attn_residual
    entered = sublayers.enter(graph, stream, residual)
    query, keys, values = sublayers.split_heads(graph, entered, attention.qkv_proj, 3, attention.heads, rows, True)
    out = sublayers.attend(graph, query, sublayers.transposed(graph, keys), values, mask, cfg.encoder.embed_dim)
    stream = sublayers.leave(graph, stream, out, attention.out_proj, residual, pass_index)
    return sublayers.perceptrons(graph, stream, application, cfg)


def attention_mask(graph: Graph, places: str, real: str, slices: int, interleaved: bool) -> str:
    """What a pass's self-attention adds to its scores: (1, B, 1, S, S), unsliced (1, B, 1, 1, S).

    Args:
        places: (S,).
        real: (B, S), False at padding.
        slices: G.
        interleaved: slices of every G-th token instead of contiguous ones.
    """
    keys = graph.op("Unsqueeze", real, graph.integers(0, 2, 3))
    if slices == 1:
        return sublayers.minus_infinity_unless(graph, keys)
    count = graph.constant(slices, "int64")
    if interleaved:
        slice_of = graph.op("Unsqueeze", graph.op("Mod", places, count), graph.integers(0))
    else:
        lengths = graph.op("ReduceSum", graph.op("Cast", real, to=TensorProto.INT64), graph.integers(1), keepdims=1)
        slice_of = graph.op("Div", graph.op("Mul", places, count), lengths)
    # Padding reads the first slice, which has a token: no row of the softmax is empty.
    first = graph.constant(0, "int64")
    slice_of = graph.op("Where", real, slice_of, first)
    same = graph.op(
        "Equal",
        graph.op("Unsqueeze", slice_of, graph.integers(0, 2, 4)),
        graph.op("Unsqueeze", slice_of, graph.integers(0, 2, 3)),
    )
    return sublayers.minus_infinity_unless(graph, graph.op("And", same, keys))


def write_outputs(graph: Graph, model: nn.Module, x: str, rows: str, real: str) -> None:
    """Declare the outputs: what the decoder reads of the encoded x (N, C)."""
    mask = sublayers.minus_infinity_unless(graph, graph.op("Unsqueeze", real, graph.integers(0, 2, 3)))
    graph.output("encoder_mask", mask, TensorProto.FLOAT, [1, "batch", 1, 1, "source"])
    for number, attention in enumerate(cross_attentions(model)):
        keys, values = sublayers.split_heads(graph, x, attention.kv_proj, 2, attention.heads, rows, False)
        heads, width = attention.heads, attention.kv_proj.weight.size(0) // 2 // attention.heads
        keys = sublayers.transposed(graph, keys)
        graph.output(f"cross_keys_{number}", keys, TensorProto.FLOAT, [1, "batch", heads, width, "source"])
        graph.output(f"cross_values_{number}", values, TensorProto.FLOAT, [1, "batch", heads, "source", width])


def cross_attentions(model: nn.Module) -> List[nn.Module]:
    """The cross-attention of each decoder block, from the first one on."""
    blocks = [block for group in model.decoder.layers for block in group.blocks]
    return [block.cross_attn for block in blocks if block.cross_attn is not None]
