"""Blocks: the sublayers of one Transformer layer, with one set of weights for all of their passes."""

from typing import Optional, Tuple

from torch import Tensor, nn

from sret_fairseq.layers.attention import CrossAttention, IncrementalState, SelfAttention
from sret_fairseq.layers.layout import Layout, merge_slices, split_into_slices
from sret_fairseq.layers.projection import FeedForward
from sret_fairseq.layers.residual import ResidualConnection


class EncoderBlock(nn.Module):
    """Self-attention, sliced or not, and feed-forward network.

    Args:
        cfg: the TransformerConfig, with this project's options beside fairseq's.
    """

    def __init__(self, cfg):
        super().__init__()
        side, passes = cfg.encoder, cfg.encoder_trained_recursions
        embed_dim, pre_norm = side.embed_dim, side.normalize_before
        self.self_attn = SelfAttention(embed_dim, side.attention_heads, cfg.attention_dropout)
        self.self_attn_residual = ResidualConnection(cfg, embed_dim, pre_norm, passes)
        self.ffn = FeedForward(cfg, embed_dim, side.ffn_embed_dim, cfg.activation_fn)
        self.ffn_residual = ResidualConnection(cfg, embed_dim, pre_norm, passes)

    def forward(self, x: Tensor, layout: Layout, pass_index: int) -> Tensor:
        """One pass.

        Args:
            x: (T, B, C).
            layout: what self-attention sees in this pass.
            pass_index: which pass this is.

        Returns:
            (T, B, C).
        """
        branch = split_into_slices(self.self_attn_residual.enter(x), layout)
        branch = merge_slices(self.self_attn(branch, layout.mask), layout, x.size(1))
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
        side, passes = cfg.decoder, cfg.decoder_trained_recursions
        embed_dim, pre_norm = side.embed_dim, side.normalize_before
        heads, dropout = side.attention_heads, cfg.attention_dropout
        self.self_attn = SelfAttention(embed_dim, heads, dropout)
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
        layout: Layout,
        incremental_state: IncrementalState,
        pass_index: int,
        need_weights: bool,
    ) -> Tuple[Tensor, Optional[Tensor]]:
        """One pass.

        Args:
            x: (T, B, C), in incremental decoding the beams of each sentence: (K, B, C).
            encoder_out: (S, B, encoder's C), or None.
            encoder_mask: (B, 1, 1, S), True where cross-attention may go, or additive, or None.
            layout: what self-attention sees in this pass.
            incremental_state: fairseq's caches, or None.
            pass_index: which pass this is.
            need_weights: also return the weights of the cross-attention.

        Returns:
            (T, B, C), and the weights (B, H, T, S) or None.
        """
        branch = split_into_slices(self.self_attn_residual.enter(x), layout)
        branch = self.self_attn(branch, layout.mask, layout.causal, incremental_state, pass_index, layout.past)
        branch = merge_slices(branch, layout, x.size(1))
        x = self.self_attn_residual.leave(x, branch, pass_index)
        weights: Optional[Tensor] = None
        if self.cross_attn is not None and self.cross_attn_residual is not None and encoder_out is not None:
            branch = self.cross_attn_residual.enter(x)
            branch, weights = self.cross_attn(branch, encoder_out, encoder_mask, incremental_state, need_weights)
            x = self.cross_attn_residual.leave(x, branch, pass_index)
        return self.ffn_residual.leave(x, self.ffn(self.ffn_residual.enter(x)), pass_index), weights
