"""Recursion groups: K blocks looped R times together. To fairseq each is one layer."""

from typing import Dict, List, Optional, Tuple

import torch
from fairseq.distributed import fsdp_wrap
from fairseq.modules.checkpoint_activations import checkpoint_wrapper
from torch import Tensor, nn

from sret_fairseq.layers.attention import allowed_keys
from sret_fairseq.layers.block import DecoderBlock, EncoderBlock
from sret_fairseq.layers.projection import build_projections
from sret_fairseq.layers.slicing import SliceLayout


def wrap_for_fairseq(layer: nn.Module, cfg) -> nn.Module:
    """The layer with activation checkpointing and FSDP as the options ask for, which fairseq gives its own layers."""
    if cfg.checkpoint_activations:
        layer = checkpoint_wrapper(layer, offload_to_cpu=cfg.offload_activations)
    return fsdp_wrap(layer, min_num_params=0 if cfg.checkpoint_activations else cfg.min_params_to_wrap)


def self_attention_mask(future_mask: Optional[Tensor], padding_mask: Optional[Tensor]) -> Optional[Tensor]:
    """One boolean mask of the decoder's self-attention from fairseq's two.

    Args:
        future_mask: (T, T), -inf above the diagonal and 0 elsewhere, or None.
        padding_mask: (B, T), True at padding, or None.

    Returns:
        True where attention may go, (T, T) or (B, 1, T, T), or None. A token may always attend to itself, so that no
        row is empty, not even that of padding on the left.
    """
    mask = None if future_mask is None else future_mask == 0
    if padding_mask is None:
        return mask
    real = ~padding_mask[:, None, None]
    itself = torch.eye(padding_mask.size(1), dtype=torch.bool, device=padding_mask.device)
    return (real if mask is None else mask & real) | itself


class RecursiveEncoderLayer(nn.Module):
    """K encoder blocks, applied R times, with an NLL of its own after each application.

    Args:
        cfg: the TransformerConfig, with this project's options beside fairseq's.
    """

    def __init__(self, cfg):
        super().__init__()
        span, passes = cfg.encoder_recursion_span, cfg.encoder_recursions
        self.reverse = cfg.recursion_reverse
        self.blocks = nn.ModuleList(EncoderBlock(cfg) for _ in range(span))
        self.projections = build_projections(
            cfg, cfg.encoder.embed_dim, cfg.encoder.normalize_before, blocks=span, passes=passes
        )

    def forward(self, x: Tensor, mask: Optional[Tensor], layouts: List[Optional[SliceLayout]]) -> Tensor:
        """All passes.

        Args:
            x: (T, B, C).
            mask: boolean (B, 1, 1, T), True where unsliced attention may go, or None.
            layouts: the slices of each pass; None where a pass is not sliced.

        Returns:
            (T, B, C).
        """
        for pass_index, projections in enumerate(self.projections):
            for wanted in block_order(len(self.blocks), self.reverse and pass_index % 2 == 1):
                # TorchScript cannot index a ModuleList by a variable: find the block by walking through them.
                for index, (block, projection) in enumerate(zip(self.blocks, projections)):
                    if index == wanted:
                        x = projection(block(x, mask, layouts[pass_index], pass_index))
        return x


class RecursiveDecoderLayer(nn.Module):
    """K decoder blocks, applied R times, with an NLL of its own after each application.

    Args:
        cfg: the TransformerConfig, with this project's options beside fairseq's.
        no_encoder_attn: leave out the cross-attention.
    """

    def __init__(self, cfg, no_encoder_attn: bool = False):
        super().__init__()
        span, passes = cfg.decoder_recursion_span, cfg.decoder_recursions
        self.reverse = cfg.recursion_reverse
        self.blocks = nn.ModuleList(DecoderBlock(cfg, no_encoder_attn) for _ in range(span))
        self.projections = build_projections(
            cfg, cfg.decoder.embed_dim, cfg.decoder.normalize_before, blocks=span, passes=passes
        )

    def forward(
        self,
        x: Tensor,
        encoder_out: Optional[Tensor] = None,
        encoder_padding_mask: Optional[Tensor] = None,
        incremental_state: Optional[Dict[str, Dict[str, Optional[Tensor]]]] = None,
        self_attn_mask: Optional[Tensor] = None,
        self_attn_padding_mask: Optional[Tensor] = None,
        need_attn: bool = False,
        need_head_weights: bool = False,
    ) -> Tuple[Tensor, Optional[Tensor], Optional[List[Tensor]]]:
        """All passes, behind the signature of fairseq's decoder layer.

        Args:
            x: (T, B, C), T = 1 in incremental decoding.
            encoder_out: (S, B, encoder's C), or None.
            encoder_padding_mask: (B, S), True at padding, or None.
            incremental_state: fairseq's caches, or None.
            self_attn_mask: (T, T), -inf above the diagonal, or None.
            self_attn_padding_mask: (B, T), True at padding, or None.
            need_attn: also return the cross-attention weights of the last application, averaged over the heads.
            need_head_weights: return them for each head.

        Returns:
            (T, B, C); the weights (B, T, S), for each head (H, B, T, S), or None; and None, fairseq's place for
            the caches of an ONNX export.
        """
        mask: Optional[Tensor] = None
        if incremental_state is None:
            mask = self_attention_mask(self_attn_mask, self_attn_padding_mask)
        encoder_mask = None if encoder_padding_mask is None else allowed_keys(encoder_padding_mask)
        weights: Optional[Tensor] = None
        applications = len(self.projections) * len(self.blocks)
        for pass_index, projections in enumerate(self.projections):
            for wanted in block_order(len(self.blocks), self.reverse and pass_index % 2 == 1):
                applications -= 1
                need_weights = applications == 0 and (need_attn or need_head_weights)
                for index, (block, projection) in enumerate(zip(self.blocks, projections)):
                    if index == wanted:
                        x, weights = block(
                            x,
                            encoder_out,
                            encoder_mask,
                            mask,
                            self_attn_padding_mask,
                            incremental_state,
                            pass_index,
                            need_weights,
                        )
                        x = projection(x)
        if weights is not None:
            weights = weights.transpose(0, 1) if need_head_weights else weights.mean(dim=1)
        return x, weights, None


def block_order(blocks: int, backwards: bool) -> List[int]:
    """The order in which a pass applies the blocks of its group."""
    order = list(range(blocks))
    if backwards:
        order.reverse()
    return order
