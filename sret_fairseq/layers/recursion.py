"""Recursion groups: K blocks looped R times together. To fairseq each is one layer."""

import functools
from typing import Dict, List, Optional, Tuple

import torch
from fairseq.distributed import fsdp_wrap
from torch import Tensor, nn

from sret_fairseq.layers.block import DecoderBlock, EncoderBlock
from sret_fairseq.layers.layout import Layout
from sret_fairseq.layers.projection import build_projections
from sret_fairseq.layers.recomputation import recomputed, segments


def wrap_for_fairseq(layer: nn.Module, cfg) -> nn.Module:
    """The layer with FSDP as the options ask for, which fairseq gives its own layers."""
    return fsdp_wrap(layer, min_num_params=0 if cfg.checkpoint_activations else cfg.min_params_to_wrap)


def passes_by_projections(trained: int, passes: int) -> List[List[int]]:
    """Which passes go through the projections of each trained pass.

    Fewer passes than were trained use the projections of the first ones, more use those of the last one again.
    """
    rows: List[List[int]] = [[] for _ in range(trained)]
    for pass_index in range(passes):
        rows[min(pass_index, trained - 1)].append(pass_index)
    return rows


class RecursiveEncoderLayer(nn.Module):
    """K encoder blocks, applied R times, with an NLL of its own after each application.

    Args:
        cfg: the TransformerConfig, with this project's options beside fairseq's.
    """

    # TorchScript cannot infer the type of an empty list, which a pass that does not run leaves.
    passes_by_projections: List[List[int]]

    def __init__(self, cfg):
        super().__init__()
        span, trained = cfg.encoder_recursion_span, cfg.encoder_trained_recursions
        self.passes_by_projections = passes_by_projections(trained, cfg.encoder_recursions)
        self.reverse = cfg.recursion_reverse
        self.checkpoint, self.offload = bool(cfg.checkpoint_activations), bool(cfg.offload_activations)
        self.blocks = nn.ModuleList(EncoderBlock(cfg) for _ in range(span))
        self.projections = build_projections(
            cfg, cfg.encoder.embed_dim, cfg.encoder.normalize_before, blocks=span, passes=trained
        )

    def forward(self, x: Tensor, layouts: List[Layout]) -> Tensor:
        """As many passes as there are layouts, from the first one on.

        Args:
            x: (T, B, C).
            layouts: what self-attention sees in each pass.

        Returns:
            (T, B, C).
        """
        dtype = x.dtype  # of the stream outside; inside, scaled residuals make it wider
        if self.checkpoint and torch.is_grad_enabled() and not torch.jit.is_scripting():
            return self.forward_in_segments(x, layouts).to(dtype)
        for row, projections in enumerate(self.projections):
            for pass_index in self.passes_by_projections[row]:
                if pass_index >= len(layouts):
                    continue
                for wanted in block_order(len(self.blocks), self.reverse and pass_index % 2 == 1):
                    # TorchScript cannot index a ModuleList by a variable: find the block by walking through them.
                    for index, (block, projection) in enumerate(zip(self.blocks, projections)):
                        if index == wanted:
                            x = projection(block(x, layouts[pass_index], pass_index))
        return x.to(dtype)

    @torch.jit.unused
    def forward_in_segments(self, x: Tensor, layouts: List[Layout]) -> Tensor:
        """The same, with activation checkpointing."""

        def run(x: Tensor, segment: List[Tuple[int, int]]) -> Tensor:
            for pass_index, index in segment:
                projection = self.projections[min(pass_index, len(self.projections) - 1)][index]
                x = projection(self.blocks[index](x, layouts[pass_index], pass_index))
            return x

        for segment in segments(applications(len(layouts), len(self.blocks), self.reverse)):
            x = recomputed(functools.partial(run, segment=segment), x, self.offload)
        return x


class RecursiveDecoderLayer(nn.Module):
    """K decoder blocks, applied R times, with an NLL of its own after each application.

    Args:
        cfg: the TransformerConfig, with this project's options beside fairseq's.
        no_encoder_attn: leave out the cross-attention.
    """

    # TorchScript cannot infer the type of an empty list, which a pass that does not run leaves.
    passes_by_projections: List[List[int]]

    def __init__(self, cfg, no_encoder_attn: bool = False):
        super().__init__()
        span, trained = cfg.decoder_recursion_span, cfg.decoder_trained_recursions
        self.passes_by_projections = passes_by_projections(trained, cfg.decoder_recursions)
        self.reverse = cfg.recursion_reverse
        self.checkpoint, self.offload = bool(cfg.checkpoint_activations), bool(cfg.offload_activations)
        self.blocks = nn.ModuleList(DecoderBlock(cfg, no_encoder_attn) for _ in range(span))
        self.projections = build_projections(
            cfg, cfg.decoder.embed_dim, cfg.decoder.normalize_before, blocks=span, passes=trained
        )

    def forward(
        self,
        x: Tensor,
        encoder_out: Optional[Tensor],
        encoder_mask: Optional[Tensor],
        layouts: List[Layout],
        incremental_state: Optional[Dict[str, Dict[str, Optional[Tensor]]]] = None,
        need_weights: bool = False,
    ) -> Tuple[Tensor, Optional[Tensor]]:
        """As many passes as there are layouts, from the first one on.

        Args:
            x: (T, B, C), in incremental decoding the beams of each sentence: (K, B, C).
            encoder_out: (S, B, encoder's C), or None.
            encoder_mask: (B, 1, 1, S), True where cross-attention may go, or additive, or None.
            layouts: what self-attention sees in each pass.
            incremental_state: fairseq's caches, or None.
            need_weights: also return the weights of the last cross-attention.

        Returns:
            (T, B, C), and the weights (B, H, T, S) or None.
        """
        dtype = x.dtype
        incremental = incremental_state is not None
        if self.checkpoint and not incremental and torch.is_grad_enabled() and not torch.jit.is_scripting():
            x, weights = self.forward_in_segments(x, encoder_out, encoder_mask, layouts, need_weights)
            return x.to(dtype), weights
        weights: Optional[Tensor] = None
        remaining = len(layouts) * len(self.blocks)
        for row, projections in enumerate(self.projections):
            for pass_index in self.passes_by_projections[row]:
                if pass_index >= len(layouts):
                    continue
                for wanted in block_order(len(self.blocks), self.reverse and pass_index % 2 == 1):
                    remaining -= 1
                    for index, (block, projection) in enumerate(zip(self.blocks, projections)):
                        if index == wanted:
                            x, weights = block(
                                x,
                                encoder_out,
                                encoder_mask,
                                layouts[pass_index],
                                incremental_state,
                                pass_index,
                                need_weights and remaining == 0,
                            )
                            x = projection(x)
        return x.to(dtype), weights

    @torch.jit.unused
    def forward_in_segments(
        self,
        x: Tensor,
        encoder_out: Optional[Tensor],
        encoder_mask: Optional[Tensor],
        layouts: List[Layout],
        need_weights: bool,
    ) -> Tuple[Tensor, Optional[Tensor]]:
        """The same, with activation checkpointing."""
        order = applications(len(layouts), len(self.blocks), self.reverse)

        def run(x: Tensor, segment: List[Tuple[int, int]]) -> Tuple[Tensor, Optional[Tensor]]:
            weights: Optional[Tensor] = None
            for pass_index, index in segment:
                wanted = need_weights and (pass_index, index) == order[-1]
                layout, block = layouts[pass_index], self.blocks[index]
                x, weights = block(x, encoder_out, encoder_mask, layout, None, pass_index, wanted)
                x = self.projections[min(pass_index, len(self.projections) - 1)][index](x)
            return x, weights

        weights: Optional[Tensor] = None
        for segment in segments(order):
            x, weights = recomputed(functools.partial(run, segment=segment), x, self.offload)
        return x, weights


def block_order(blocks: int, backwards: bool) -> List[int]:
    """The order in which a pass applies the blocks of its group."""
    order = list(range(blocks))
    if backwards:
        order.reverse()
    return order


def applications(passes: int, blocks: int, reverse: bool) -> List[Tuple[int, int]]:
    """All that a group applies, in order: (pass, block)."""
    return [
        (pass_index, index)
        for pass_index in range(passes)
        for index in block_order(blocks, reverse and pass_index % 2 == 1)
    ]
