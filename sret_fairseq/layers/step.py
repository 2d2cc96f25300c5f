"""A step of translating, on plain tensors.

A step computes so little that calling modules takes as long as computing. So a translation begins by taking the
weights from the modules, and its steps are these equations alone: those of block.py, residual.py and projection.py,
without dropout. A residual connection is one product: ``c1 * x + c2 * (hidden W + b)``.
"""

from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

import torch
import torch.nn.functional as F
from fairseq.modules.fairseq_dropout import FairseqDropout
from torch import Tensor, nn

from sret_fairseq.layers.attention import CrossAttention, SelfAttention
from sret_fairseq.layers.block import Block, Memory
from sret_fairseq.layers.dropout import Dropout
from sret_fairseq.layers.layout import Layout
from sret_fairseq.layers.projection import FeedForward, NonLinearProjection, NoProjection, PassProjections
from sret_fairseq.layers.recursion import RecursionGroup
from sret_fairseq.layers.residual import ResidualCoefficients, ResidualConnection, in_16_bits, is_plain

# What steps stand for. A layer that was put in the place of one of these, as quantisation does, is called itself.
KNOWN = (
    RecursionGroup, Block, SelfAttention, CrossAttention, FeedForward, PassProjections, NonLinearProjection,
    NoProjection, ResidualConnection, ResidualCoefficients, Dropout, FairseqDropout, nn.ModuleList, nn.Linear,
    nn.LayerNorm,
)  # fmt: skip
Numbers = Dict[ResidualCoefficients, List[Tuple[float, float]]]


def may_step(layers: nn.ModuleList) -> bool:
    """Whether ``GroupStep`` computes what these recursion groups would."""
    return all(serves(part) for layer in layers for part in layer.modules())


def serves(part: nn.Module) -> bool:
    """Whether a step computes what this module within a recursion group would."""
    if not is_plain(part, *KNOWN) or part.training:
        return False
    if isinstance(part, FairseqDropout):
        return not part.apply_during_inference
    if isinstance(part, ResidualCoefficients):
        return part.channels == 1
    if isinstance(part, nn.Linear):
        # A CPU would round the two factors of a product, the coefficients, to 16 bits.
        return part.bias is not None and not (in_16_bits(part.weight) and part.weight.device.type == "cpu")
    # In 16 bits a stream of scaled residuals is wider than what reads it.
    return not (isinstance(part, ResidualConnection) and part.scaled and in_16_bits(part.layer_norm.weight))


def coefficients_of(layers: nn.ModuleList) -> Numbers:
    """The factors of x and f in each pass, of every residual connection, read in one transfer."""
    found = [part for part in layers.modules() if isinstance(part, ResidualCoefficients)]
    learnt = [offsets for part in found for offsets in (part.identity, part.residual) if offsets is not None]
    values = iter(torch.cat([offsets.flatten() for offsets in learnt]).tolist() if learnt else [])
    numbers: Numbers = {}
    for part in found:
        identity, residual = (
            [0.0 if offsets is None else next(values) for _ in range(part.passes)]
            for offsets in (part.identity, part.residual)
        )
        numbers[part] = [(1 + part.scale * d1, part.scale * (1 + d2)) for d1, d2 in zip(identity, residual)]
    return numbers


class Connection(NamedTuple):
    """A residual connection and the last layer of what it surrounds, in one pass.

    Attributes:
        norm: what torch's layer_norm wants beside its input.
        pre_norm: whether it comes first.
        weight, bias: of the last layer, (H, C) and (C,); the bias times c2.
        identity, residual: c1 and c2.
    """

    norm: Tuple[Tuple[int, ...], Tensor, Tensor, float]
    pre_norm: bool
    weight: Tensor
    bias: Tensor
    identity: float
    residual: float

    def enter(self, x: Tensor) -> Tensor:
        """What f reads: (N, C) -> (N, C)."""
        return torch.layer_norm(x, *self.norm) if self.pre_norm else x

    def leave(self, x: Tensor, hidden: Tensor) -> Tensor:
        """The new stream from the old one (N, C) and what the last layer reads (N, H): (N, C)."""
        x = torch.addmm(x, hidden, self.weight, beta=self.identity, alpha=self.residual).add_(self.bias)
        return x if self.pre_norm else torch.layer_norm(x, *self.norm)


def connection(part: ResidualConnection, last: nn.Linear, pass_index: int, numbers: Numbers) -> Connection:
    """The residual connection around a function whose last layer is this one."""
    identity, residual = numbers[part.coefficients][part.coefficients.row(pass_index)]
    norm = part.layer_norm
    return Connection(
        (tuple(norm.normalized_shape), norm.weight, norm.bias, norm.eps),
        part.normalize_before,
        last.weight.t(),
        last.bias * residual,
        identity,
        residual,
    )


class PerceptronStep(NamedTuple):
    """A feed-forward network or an NLL, with its residual connection."""

    connection: Connection
    weight: Tensor
    bias: Tensor
    activation: Callable[[Tensor], Tensor]

    def __call__(self, x: Tensor) -> Tensor:
        """(N, C) -> (N, C)."""
        hidden = self.activation(F.linear(self.connection.enter(x), self.weight, self.bias))
        return self.connection.leave(x, hidden)


def perceptron(mlp: FeedForward, part: ResidualConnection, pass_index: int, numbers: Numbers) -> PerceptronStep:
    """The step of two layers."""
    return PerceptronStep(connection(part, mlp.fc2, pass_index, numbers), mlp.fc1.weight, mlp.fc1.bias, mlp.activation)


class AttentionStep(NamedTuple):
    """Self- or cross-attention with its residual connection and its first projection."""

    connection: Connection
    weight: Tensor
    bias: Tensor
    attention: Any

    def projected(self, x: Tensor, beams: int) -> Tensor:
        """Queries, in self-attention with keys and values: (K * B, C) -> (K, B, C or 3C)."""
        return F.linear(self.connection.enter(x), self.weight, self.bias).view(beams, -1, self.weight.size(0))


class ApplicationStep:
    """One application of a block and of the NLL behind it.

    Args:
        block: with cross-attention or without.
        projection: an NLL or none.
        pass_index: which pass it is.
        numbers: all coefficients.
    """

    def __init__(self, block: Block, projection: nn.Module, pass_index: int, numbers: Numbers):
        self.pass_index = pass_index
        own = block.self_attn
        around = connection(block.self_attn_residual, own.out_proj, pass_index, numbers)
        self.self_attention = AttentionStep(around, own.qkv_proj.weight, own.qkv_proj.bias, own)
        self.cross_attention: Optional[AttentionStep] = None
        if block.cross_attn is not None:
            cross = block.cross_attn
            around = connection(block.cross_attn_residual, cross.out_proj, pass_index, numbers)
            self.cross_attention = AttentionStep(around, cross.q_proj.weight, cross.q_proj.bias, cross)
        self.perceptrons = [perceptron(block.ffn, block.ffn_residual, pass_index, numbers)]
        if isinstance(projection, NonLinearProjection):
            self.perceptrons.append(perceptron(projection.mlp, projection.residual, 0, numbers))

    def __call__(
        self, x: Tensor, beams: int, layout: Layout, memory: Memory, need_weights: bool
    ) -> Tuple[Tensor, Optional[Tensor]]:
        """The last token of each hypothesis, (K * B, C); see ``Block.forward``."""
        state, step = memory.incremental_state, self.self_attention
        seen = step.attention.attend(step.projected(x, beams), layout.mask, False, state, self.pass_index, layout.past)
        x = step.connection.leave(x, seen.flatten(0, 1))
        weights: Optional[Tensor] = None
        step = self.cross_attention
        if step is not None and memory.encoder_out is not None:
            encoded = step.attention.keys_and_values(memory.encoder_out, state)
            seen, weights = step.attention.attend(step.projected(x, beams), encoded, memory.encoder_mask, need_weights)
            x = step.connection.leave(x, seen.flatten(0, 1))
        for step in self.perceptrons:
            x = step(x)
        return x, weights


class GroupStep:
    """A recursion group, to be called as one.

    Args:
        group: what it takes its weights from.
        applications: how many of its blocks follow one another.
        numbers: all coefficients.
    """

    def __init__(self, group: RecursionGroup, applications: int, numbers: Numbers):
        self.applications = [
            ApplicationStep(group.blocks[index], group.projections[row][index], pass_index, numbers)
            for pass_index, index, row in map(group.place, range(applications))
        ]

    def __call__(
        self, x: Tensor, layouts: List[Layout], memory: Memory, need_weights: bool
    ) -> Tuple[Tensor, Optional[Tensor]]:
        """As ``RecursionGroup.forward``, x: (K, B, C)."""
        beams, shape = x.size(0), x.shape
        x, weights = x.flatten(0, 1), None
        for application, layout in zip(self.applications, layouts, strict=True):
            last = application is self.applications[-1]
            x, weights = application(x, beams, layout, memory, need_weights and last)
        return x.view(shape), weights


class Steps:
    """What translations call in place of the decoder's layers.

    Attributes:
        groups: of the translation that began last, or None where the layers have to be called themselves.
        applications: of blocks in each of them.
    """

    def __init__(self):
        self.groups: Optional[List[GroupStep]] = None
        self.applications = 0

    def begin(self, layers: nn.ModuleList, applications: int) -> None:
        """A translation begins: take the weights as they are now.

        Args:
            layers: recursion groups.
            applications: of blocks, in each of them.
        """
        self.groups, self.applications = None, applications
        if not torch.is_grad_enabled() and may_step(layers):
            numbers = coefficients_of(layers)
            self.groups = [GroupStep(group, applications, numbers) for group in layers]

    def serve(self, x: Tensor, applications: int) -> bool:
        """Whether they do now: without gradients and autocast, and unless one of another depth has begun meanwhile.

        Args:
            x: any tensor of the stream.
            applications: as above.
        """
        wanted = self.groups is not None and self.applications == applications
        return wanted and not (torch.is_grad_enabled() or torch.is_autocast_enabled(x.device.type))
