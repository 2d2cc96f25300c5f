"""Recursion groups: K blocks looped R times together. To fairseq each is one layer."""

import functools
from typing import Any, List, Optional, Tuple

import torch
from fairseq.distributed import fsdp_wrap
from torch import Tensor, nn

from sret_fairseq.layers.block import AnyBlock, Block, Memory
from sret_fairseq.layers.layout import Layout
from sret_fairseq.layers.projection import AnyPassProjections, PassProjections
from sret_fairseq.layers.recomputation import recomputed, segments
from sret_fairseq.layers.residual import ScaledLayers


def wrap_for_fairseq(layer: nn.Module, cfg: Any) -> nn.Module:
    """The layer with FSDP as the options ask for, which fairseq gives its own layers."""
    return fsdp_wrap(layer, min_num_params=0 if cfg.checkpoint_activations else cfg.min_params_to_wrap)


class RecursionGroup(nn.Module):
    """K blocks, applied R times, with a non-linear projection (NLL) of its own after each application.

    Args:
        cfg: the TransformerConfig, with this project's options beside fairseq's.
        side: ``encoder`` or ``decoder``.
        cross_attention: whether its blocks have one.
    """

    def __init__(self, cfg: Any, side: str, cross_attention: bool):
        super().__init__()
        span, trained = getattr(cfg, f"{side}_recursion_span"), getattr(cfg, f"{side}_trained_recursions")
        self.reverse = cfg.recursion_reverse
        self.checkpoint, self.offload = bool(cfg.checkpoint_activations), bool(cfg.offload_activations)
        self.blocks = nn.ModuleList(Block(cfg, side, cross_attention) for _ in range(span))
        self.projections = nn.ModuleList(PassProjections(cfg, side, blocks=span) for _ in range(trained))

    def forward(
        self, x: Tensor, layouts: List[Layout], memory: Memory, need_weights: bool = False
    ) -> Tuple[Tensor, Optional[Tensor]]:
        """As many applications of blocks as there are layouts, from those of the first pass on.

        More passes than were trained repeat the last one, with its projections.

        Args:
            x: (T, B, C), in incremental decoding the beams of each sentence: (K, B, C).
            layouts: what self-attention sees in each application.
            memory: what the decoder reads beside x.
            need_weights: also return the weights of the last cross-attention.

        Returns:
            (T, B, C), and the weights (B, H, T, S) or None.
        """
        memories: List[Memory] = []  # as each block reads it, in all passes
        for block in self.blocks:
            memories.append(block.read(memory))
        if torch.is_grad_enabled() and not torch.jit.is_scripting():
            out, weights = self.trained(x, layouts, memories, need_weights)
        else:
            out, weights = self.applied(x, 0, len(layouts), layouts, memories, need_weights)
        return out.to(x.dtype), weights  # scaled residuals make the stream wider inside

    def applied(
        self, x: Tensor, first: int, end: int, layouts: List[Layout], memories: List[Memory], need_weights: bool
    ) -> Tuple[Tensor, Optional[Tensor]]:
        """The applications from ``first`` up to ``end``; ``memories`` are the blocks', from ``Block.read``."""
        weights: Optional[Tensor] = None
        for number in range(first, end):
            pass_index, index, row = self.place(number)
            wanted = need_weights and number == len(layouts) - 1
            if torch.jit.is_scripting():  # which calls what it picks by a number through interfaces alone
                block: AnyBlock = self.blocks[index]
                x, weights = block.forward(x, layouts[number], pass_index, memories[index], wanted)
                projections: AnyPassProjections = self.projections[row]
                x = projections.forward(x, index)
            else:
                x, weights = self.blocks[index](x, layouts[number], pass_index, memories[index], wanted)
                x = self.projections[row][index](x)
        return x, weights

    def place(self, number: int) -> Tuple[int, int, int]:
        """Of an application: its pass, its block, and the row of the projection behind it."""
        span = len(self.blocks)
        pass_index, index = number // span, number % span
        if self.reverse and pass_index % 2 == 1:
            index = span - 1 - index
        return pass_index, index, min(pass_index, len(self.projections) - 1)

    @torch.jit.unused
    def trained(
        self, x: Tensor, layouts: List[Layout], memories: List[Memory], need_weights: bool
    ) -> Tuple[Tensor, Optional[Tensor]]:
        """All applications, such that their gradient costs less."""
        scaled_layers = ScaledLayers(self)

        def segment(x: Tensor, first: int, end: int) -> Tuple[Tensor, Optional[Tensor]]:
            with scaled_layers:  # a last layer is multiplied by its coefficient once for all passes
                return self.applied(x, first, end, layouts, memories, need_weights)

        if not self.checkpoint or memories[0].incremental_state is not None:
            return segment(x, 0, len(layouts))
        weights: Optional[Tensor] = None
        for first, end in segments(len(layouts)):
            x, weights = recomputed(functools.partial(segment, first=first, end=end), x, self.offload)
        return x, weights
