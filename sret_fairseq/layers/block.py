"""Blocks: the sublayers of one Transformer layer, with one set of weights for all of their passes."""

from typing import Optional, Tuple

from torch import Tensor, nn

from sret_fairseq.layers.attention import CrossAttention, IncrementalState, SelfAttention
from sret_fairseq.layers.projection import FeedForward
from sret_fairseq.layers.residual import ResidualConnection
from sret_fairseq.layers.slicing import SliceLayout, merge_slices, split_into_slices


class EncoderBlock(nn.Module):
    """Self-attention, sliced or not, and feed-forward network.

    Args:
        cfg: the TransformerConfig, with this project's options beside fairseq's.
    """

    def __init__(self, cfg):
        super().__init__()
        side, passes = cfg.encoder, cfg.encoder_recursions
        embed_dim, pre_norm = side.embed_dim, side.normalize_before
        self.self_attn = SelfAttention(embed_dim, side.attention_heads, cfg.attention_dropout, passes)
        self.self_attn_residual = ResidualConnection(cfg, embed_dim, pre_norm, passes)
        self.ffn = FeedForward(cfg, embed_dim, side.ffn_embed_dim, cfg.activation_fn)
        self.ffn_residual = ResidualConnection(cfg, embed_dim, pre_norm, passes)

    def forward(self, x: Tensor, mask: Optional[Tensor], layout: Optional[SliceLayout], pass_index: int) -> Tensor:
        """One pass.

        Args:
            x: (T, B, C).
            mask: boolean (B, 1, 1, T), True where attention may go, or None. Unused when the pass is sliced.
            layout: the slices of this pass, or None.
            pass_index: which pass this is.

        Returns:
            (T, B, C).
        """
        branch = self.self_attn_residual.enter(x)
        if layout is None:
            branch = self.self_attn(branch, mask)[0]
        else:
            sliced = self.self_attn(split_into_slices(branch, layout), layout.mask)[0]
            branch = merge_slices(sliced, layout, x.size(1))
        x = self.self_attn_residual.leave(x, branch, pass_index)
        return self.ffn_residual.leave(x, self.ffn(self.ffn_residual.enter(x)), pass_index)


class DecoderBlock(nn.Module):
    """Causal self-attention, cross-attention and feed-forward network.

    Args:
        cfg: the TransformerConfig, with this project's options beside fairseq's.
        no_encoder_attn: leave out the cross-attention.
    """

    def __init__(self, cfg, no_encoder_attn: bool = False):
        super().__init__()
        side, passes = cfg.decoder, cfg.decoder_recursions
        embed_dim, pre_norm = side.embed_dim, side.normalize_before
        heads, dropout = side.attention_heads, cfg.attention_dropout
        self.self_attn = SelfAttention(embed_dim, heads, dropout, passes)
        self.self_attn_residual = ResidualConnection(cfg, embed_dim, pre_norm, passes)
        self.cross_attn: Optional[CrossAttention] = None
        self.cross_attn_residual: Optional[ResidualConnection] = None
        if not no_encoder_attn:
            self.cross_attn = CrossAttention(embed_dim, cfg.encoder.embed_dim, heads, dropout)
            self.cross_attn_residual = ResidualConnection(cfg, embed_dim, pre_norm, passes)
        self.ffn = FeedForward(cfg, embed_dim, side.ffn_embed_dim, cfg.activation_fn)
        self.ffn_residual = ResidualConnection(cfg, embed_dim, pre_norm, passes)

    def forward(
        self,
        x: Tensor,
        encoder_out: Optional[Tensor],
        encoder_mask: Optional[Tensor],
        mask: Optional[Tensor],
        padding_mask: Optional[Tensor],
        incremental_state: IncrementalState,
        pass_index: int,
        need_weights: bool,
    ) -> Tuple[Tensor, Optional[Tensor]]:
        """One pass.

        Args:
            x: (T, B, C), T = 1 in incremental decoding.
            encoder_out: (S, B, encoder's C), or None.
            encoder_mask: boolean (B, 1, 1, S), True where cross-attention may go, or None.
            mask: boolean, True where self-attention may go, broadcastable to (B, H, T, T), or None.
            padding_mask: (B, T), True at padding, or None; for incremental decoding.
            incremental_state: fairseq's caches, or None.
            pass_index: which pass this is.
            need_weights: also return the weights of the cross-attention.

        Returns:
            (T, B, C), and the weights (B, H, T, S) or None.
        """
        branch = self.self_attn_residual.enter(x)
        branch = self.self_attn(branch, mask, incremental_state, padding_mask, pass_index)[0]
        x = self.self_attn_residual.leave(x, branch, pass_index)
        weights: Optional[Tensor] = None
        if self.cross_attn is not None and self.cross_attn_residual is not None and encoder_out is not None:
            branch = self.cross_attn_residual.enter(x)
            branch, weights = self.cross_attn(branch, encoder_out, encoder_mask, incremental_state, need_weights)
            x = self.cross_attn_residual.leave(x, branch, pass_index)
        return self.ffn_residual.leave(x, self.ffn(self.ffn_residual.enter(x)), pass_index), weights
