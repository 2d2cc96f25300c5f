"""Blocks: the sublayers of one Transformer layer, with one set of weights for all of their passes."""

from typing import Any, NamedTuple, Optional, Tuple

import torch
from torch import Tensor, nn

from sret_fairseq.layers.attention import CrossAttention, IncrementalState, SelfAttention
from sret_fairseq.layers.layout import Layout, merge_slices, split_into_slices
from sret_fairseq.layers.projection import FeedForward
from sret_fairseq.layers.residual import ResidualConnection


class Memory(NamedTuple):
    """What a block of the decoder reads beside the stream; one of the encoder reads nothing.

    Attributes:
        encoder_out: (S, B, encoder's C), or None.
        encoder_mask: additive (B, 1, 1, S), what cross-attention may not see, or None.
        incremental_state: fairseq's caches, or None.
        keys_and_values: of the encoder's output, (B, H, S, D) each, from ``Block.read``; None before it.
    """

    encoder_out: Optional[Tensor]
    encoder_mask: Optional[Tensor]
    incremental_state: IncrementalState
    keys_and_values: Optional[Tuple[Tensor, Tensor]] = None


class Block(nn.Module):
    """Self-attention, in a decoder cross-attention, and feed-forward network.

    Args:
        cfg: the TransformerConfig, with this project's options beside fairseq's.
        side: ``encoder`` or ``decoder``.
        cross_attention: whether there is one.
    """

    def __init__(self, cfg: Any, side: str, cross_attention: bool):
        super().__init__()
        part, passes = getattr(cfg, side), getattr(cfg, f"{side}_trained_recursions")
        embed_dim, heads, pre_norm = part.embed_dim, part.attention_heads, part.normalize_before
        self.self_attn = SelfAttention(embed_dim, heads, cfg.attention_dropout)
        self.self_attn_residual = ResidualConnection(cfg, embed_dim, pre_norm, passes)
        self.cross_attn: Optional[CrossAttention] = None
        self.cross_attn_residual: Optional[ResidualConnection] = None
        if cross_attention:
            self.cross_attn = CrossAttention(embed_dim, cfg.encoder.embed_dim, heads, cfg.attention_dropout)
            self.cross_attn_residual = ResidualConnection(cfg, embed_dim, pre_norm, passes)
        self.ffn = FeedForward(cfg, embed_dim, part.ffn_embed_dim, cfg.activation_fn)
        self.ffn_residual = ResidualConnection(cfg, embed_dim, pre_norm, passes)

    def read(self, memory: Memory) -> Memory:
        """The memory with the keys and values of the cross-attention, which are the same in every pass."""
        encoder_out, state = memory.encoder_out, memory.incremental_state
        if self.cross_attn is None or encoder_out is None:
            return memory
        return Memory(encoder_out, memory.encoder_mask, state, self.cross_attn.keys_and_values(encoder_out, state))

    def forward(
        self, x: Tensor, layout: Layout, pass_index: int, memory: Memory, need_weights: bool
    ) -> Tuple[Tensor, Optional[Tensor]]:
        """One pass.

        Args:
            x: (T, B, C), in incremental decoding the beams of each sentence: (K, B, C).
            layout: what self-attention sees now.
            pass_index: which pass this is.
            memory: what the decoder reads beside x, from ``read``.
            need_weights: also return the weights of the cross-attention.

        Returns:
            (T, B, C), and the weights (B, H, T, S) or None.
        """
        state = memory.incremental_state
        branch = split_into_slices(self.self_attn_residual.enter(x), layout)
        branch = self.self_attn(branch, layout.mask, layout.causal, state, pass_index, layout.past)
        branch = merge_slices(branch, layout, x.size(1))
        x = self.self_attn_residual.leave(x, branch, self.self_attn.out_proj, pass_index)
        weights: Optional[Tensor] = None
        if self.cross_attn is not None and self.cross_attn_residual is not None and memory.encoder_out is not None:
            encoded = memory.keys_and_values
            assert encoded is not None, "the memory is to come from Block.read"
            branch = self.cross_attn_residual.enter(x)
            branch, weights = self.cross_attn(branch, encoded, memory.encoder_mask, need_weights)
            x = self.cross_attn_residual.leave(x, branch, self.cross_attn.out_proj, pass_index)
        hidden = self.ffn.hidden(self.ffn_residual.enter(x))
        return self.ffn_residual.leave(x, hidden, self.ffn.fc2, pass_index), weights


@torch.jit.interface
class AnyBlock:
    """A block as TorchScript has to know it, to pick one by a number."""

    def forward(
        self, x: Tensor, layout: Layout, pass_index: int, memory: Memory, need_weights: bool
    ) -> Tuple[Tensor, Optional[Tensor]]:
        pass
