"""A step of the decoder as an ONNX graph: the next token of all beams, and the search's candidates for it.

K beams of each of B sentences are extended together. The keys and values of their steps lie in the S slots of caches
that never move: ``visible`` tells which slots hold a hypothesis' own past, and the search gives slots that belong to
nobody's any more to new steps.

Inputs:
    tokens (B, K): the last token of each hypothesis.
    scores (B, K): what each has so far, the sum of its log-probabilities.
    step (1,): how many tokens came before.
    new_slots (B, K): where this step's keys and values go.
    visible (B, K, S): the slots of each hypothesis, those of this step included.
    written (B, S): the step that each slot holds; only with decoder slices.
    token_bias (1, V) or (B * K, V): added to the log-probabilities of the next token; -inf forbids one.
    candidates (1,): M, how many to return for each sentence.
    encoder_mask, cross_keys_n, cross_values_n: what the encoder returned.
    keys_i, values_i (1, B, H, S, D): the caches of the i-th application of a block.

Outputs:
    candidate_scores, candidate_tokens, candidate_beams (B, M): the best continuations, best first.
    log_probabilities (B * K, V): of the next token, without the bias.
    new_keys_i, new_values_i: the caches with this step. They may share the memory of the inputs.
"""

from typing import List, Tuple

import numpy as np
from onnx import TensorProto
from torch import nn

from sret_fairseq.export import sublayers
from sret_fairseq.export.applications import Application, applications_of
from sret_fairseq.export.embeddings import embed
from sret_fairseq.export.graph import Graph, Weights
from sret_fairseq.export.sublayers import Stream

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
BEAMS = ["batch", "beam"]


class Step:
    """The graph of a SretTransformerModel's decoder, with as many passes as it has been set to."""

    def __init__(self, model: nn.Module, weights: Weights, int8: bool):
        self.graph, self.decoder, self.cfg = Graph(weights, int8), model.decoder, model.cfg
        graph = self.graph
        self.tokens = graph.input("tokens", INT64, BEAMS)
        self.step = graph.input("step", INT64, [1])
        self.rows = graph.op("Shape", self.tokens)
        self.visible = graph.input("visible", TensorProto.BOOL, [*BEAMS, "slots"])
        self.place = self.cache_place()

    def build(self) -> Graph:
        """Build it."""
        graph, cfg = self.graph, self.cfg
        stream = Stream(embed(graph, self.decoder, self.tokens, self.step))
        order = applications_of(self.decoder)
        cross: List[Tuple[str, str]] = []
        if not cfg.no_cross_attention:
            cross = self.cross_inputs(max(application.number for application in order) + 1)
        for index, application in enumerate(order):
            stream = self.self_attention(stream, application, index)
            if cross:
                stream = self.cross_attention(stream, application, *cross[application.number])
            stream = sublayers.perceptrons(graph, stream, application, cfg)
        x = sublayers.final_norm(graph, stream, self.decoder.layer_norm)
        if self.decoder.project_out_dim is not None:
            x = sublayers.linear(graph, x, self.decoder.project_out_dim)
        self.write_candidates(sublayers.linear(graph, x, self.decoder.output_projection))
        return graph

    def cache_place(self) -> str:
        """Where the caches take this step's keys: (1, B, H, K, 4), the first indices of (1, B, H, S, D)."""
        graph, heads = self.graph, self.cfg.decoder.attention_heads
        batch, beams = (graph.op("Gather", self.rows, graph.integers(dim)) for dim in (0, 1))
        count = graph.op("Range", graph.constant(0, "int64"), graph.op("Squeeze", batch), graph.constant(1, "int64"))
        slots = graph.input("new_slots", INT64, BEAMS)
        shape = graph.op("Concat", graph.integers(1), batch, graph.integers(heads), beams, graph.integers(1), axis=0)
        parts = [
            graph.integers(0),
            graph.op("Unsqueeze", count, graph.integers(0, 2, 3, 4)),
            graph.constant(np.arange(heads).reshape(1, 1, heads, 1, 1), np.int64),
            graph.op("Unsqueeze", slots, graph.integers(0, 2, 4)),
        ]
        return graph.op("Concat", *(graph.op("Expand", part, shape) for part in parts), axis=4)

    def mask(self, slices: int, strided: bool) -> str:
        """What an application's self-attention adds to its scores: (1, B, 1, K, S)."""
        graph, allowed = self.graph, self.visible
        if slices > 1:
            kind, size = ("Mod", slices) if strided else ("Div", self.cfg.decoder_chunk_size)
            slice_of, own = (
                graph.op(kind, step, graph.constant(size, "int64")) for step in (self.written(), self.step)
            )
            same = graph.op("Unsqueeze", graph.op("Equal", slice_of, own), graph.integers(1))
            allowed = graph.op("And", allowed, same)
        return sublayers.minus_infinity_unless(graph, graph.op("Unsqueeze", allowed, graph.integers(0, 2)))

    def written(self) -> str:
        """The step that each slot holds: (B, S)."""
        if all(given.name != "written" for given in self.graph.inputs):
            self.graph.input("written", INT64, ["batch", "slots"])
        return "written"

    def self_attention(self, stream: Stream, application: Application, index: int) -> Stream:
        """The first sublayer of a block; appends to the application's cache."""
        graph, heads, channels = self.graph, self.cfg.decoder.attention_heads, self.cfg.decoder.embed_dim
        attention, residual = application.block.self_attn, application.block.self_attn_residual
        entered = sublayers.enter(graph, stream, residual)
        query, *new = sublayers.split_heads(graph, entered, attention.qkv_proj, 3, heads, self.rows, True)
        shape, seen = [1, "batch", heads, "slots", channels // heads], []
        for kind, tensor in zip(("keys", "values"), new):
            seen.append(graph.op("ScatterND", graph.input(f"{kind}_{index}", FLOAT, shape), self.place, tensor))
            graph.output(f"new_{kind}_{index}", seen[-1], FLOAT, shape)
        mask = self.mask(application.slices, application.permuted)
        out = sublayers.attend(graph, query, sublayers.transposed(graph, seen[0]), seen[1], mask, channels)
        return sublayers.leave(graph, stream, out, attention.out_proj, residual, application.pass_index)

    def cross_inputs(self, blocks: int) -> List[Tuple[str, str]]:
        """The encoder's keys and values for each block."""
        graph, heads = self.graph, self.cfg.decoder.attention_heads
        width = self.cfg.decoder.embed_dim // heads
        graph.input("encoder_mask", FLOAT, [1, "batch", 1, 1, "source"])
        return [
            (
                graph.input(f"cross_keys_{number}", FLOAT, [1, "batch", heads, width, "source"]),
                graph.input(f"cross_values_{number}", FLOAT, [1, "batch", heads, "source", width]),
            )
            for number in range(blocks)
        ]

    def cross_attention(self, stream: Stream, application: Application, keys: str, values: str) -> Stream:
        """The second sublayer of a block."""
        graph, heads, channels = self.graph, self.cfg.decoder.attention_heads, self.cfg.decoder.embed_dim
        attention, residual = application.block.cross_attn, application.block.cross_attn_residual
        entered = sublayers.enter(graph, stream, residual)
        (query,) = sublayers.split_heads(graph, entered, attention.q_proj, 1, heads, self.rows, True)
        out = sublayers.attend(graph, query, keys, values, "encoder_mask", channels)
        return sublayers.leave(graph, stream, out, attention.out_proj, residual, application.pass_index)

    def write_candidates(self, logits: str) -> None:
        """Declare the search's outputs: first the best tokens of each hypothesis, then of each sentence."""
        graph = self.graph
        vocabulary = self.decoder.output_projection.weight.size(0)
        bias = graph.input("token_bias", FLOAT, ["biases", vocabulary])
        scores = graph.input("scores", FLOAT, BEAMS)
        wanted = graph.input("candidates", INT64, [1])
        log_probabilities = graph.op("LogSoftmax", logits, axis=-1)
        of_row = graph.op("Min", wanted, graph.integers(vocabulary))
        values, tokens = graph.ops("TopK", [graph.op("Add", log_probabilities, bias), of_row], 2, axis=-1)
        values = graph.op("Reshape", values, graph.op("Concat", self.rows, graph.integers(-1), axis=0))
        values = graph.op("Add", values, graph.op("Unsqueeze", scores, graph.integers(2)))
        shape = graph.op("Concat", graph.op("Gather", self.rows, graph.integers(0)), graph.integers(-1), axis=0)
        best, index = graph.ops("TopK", [graph.op("Reshape", values, shape), wanted], 2, axis=-1)
        tokens = graph.op("GatherElements", graph.op("Reshape", tokens, shape), index, axis=1)
        shape = ["batch", "candidates"]
        graph.output("candidate_scores", best, FLOAT, shape)
        graph.output("candidate_tokens", tokens, INT64, shape)
        graph.output("candidate_beams", graph.op("Div", index, of_row), INT64, shape)
        graph.output("log_probabilities", log_probabilities, FLOAT, ["rows", vocabulary])


def build(model: nn.Module, weights: Weights, int8: bool) -> Graph:
    """The graph of a step of a SretTransformerModel's decoder."""
    return Step(model, weights, int8).build()
