"""Multi-head attention: self-attention with one cache per pass, cross-attention with one cache for all passes."""

import math
from typing import Dict, List, Optional, Tuple

import torch
import torch.nn.functional as F
from fairseq.incremental_decoding_utils import with_incremental_state
from fairseq.modules.fairseq_dropout import FairseqDropout
from torch import Tensor, nn

# TorchScript reads these annotations and knows no `X | None`, hence typing's Optional and Dict throughout this package.
IncrementalState = Optional[Dict[str, Dict[str, Optional[Tensor]]]]


def attend_with_weights(
    query: Tensor, key: Tensor, value: Tensor, mask: Optional[Tensor], dropout: float
) -> Tuple[Tensor, Tensor]:
    """Scaled dot-product attention that also returns its weights, which costs O(T S) memory.

    Args:
        query: (B, H, T, D).  key, value: (B, H, S, D).
        mask: additive, broadcastable to (B, H, T, S).
        dropout: probability with which a weight is dropped.

    Returns:
        the output (B, H, T, D), and the weights (B, H, T, S) in float32.
    """
    scores = torch.matmul(query / math.sqrt(query.size(-1)), key.transpose(-2, -1))
    if mask is not None:
        scores = scores + mask
    weights = torch.softmax(scores, dim=-1, dtype=torch.float32)
    out = torch.matmul(F.dropout(weights, dropout).to(value.dtype), value)
    return out, weights


class Attention(nn.Module):
    """What self- and cross-attention share: heads, the output projection, the dropout of weights."""

    def __init__(self, embed_dim: int, heads: int, dropout: float):
        super().__init__()
        self.heads = heads
        self.dropout_module = FairseqDropout(dropout, module_name=self.__class__.__name__)
        self.out_proj = nn.Linear(embed_dim, embed_dim)
        nn.init.xavier_uniform_(self.out_proj.weight)
        nn.init.zeros_(self.out_proj.bias)

    def split_heads(self, x: Tensor, parts: int) -> List[Tensor]:
        """The heads of ``parts`` stacked projections, D = C/H wide each: (T, B, parts * C) -> parts of (B, H, T, D).

        Not by an index, whose gradient is a tensor of zeros for each part.
        """
        stacked = x.view(x.size(0), x.size(1), parts, self.heads, -1)
        return [part.permute(1, 2, 0, 3) for part in stacked.unbind(2)]

    def join_heads(self, x: Tensor) -> Tensor:
        """(B, H, T, D) -> (T, B, H*D)."""
        return x.permute(2, 0, 1, 3).flatten(2)

    def weight_dropout(self) -> float:
        """The probability with which attention weights are dropped now."""
        active = self.training or self.dropout_module.apply_during_inference
        return self.dropout_module.p if active else 0.0


def stacked_projection(in_dim: int, out_dim: int, copies: int, gain: float) -> nn.Linear:
    """``copies`` projections in_dim -> out_dim as one layer, each initialised as if it stood alone (as in fairseq)."""
    projection = nn.Linear(in_dim, copies * out_dim)
    for part in projection.weight.chunk(copies):
        nn.init.xavier_uniform_(part, gain=gain)
    return projection


def append_in_place(buffer: Optional[Tensor], past: int, new: Tensor) -> Tensor:
    """Write keys and values behind the earlier ones, into a larger buffer where there is no room.

    Args:
        buffer: (B, 2, H, capacity, D) with ``past`` keys and values in it, or None before the first ones.
        past: how many there are.
        new: (B, 2, H, n, D).

    Returns:
        the buffer with ``past + n`` of them.
    """
    batch, _, heads, size, width = new.shape
    # With gradients the earlier steps need what they read: a new buffer at every step.
    if buffer is None or buffer.size(3) < past + size or torch.is_grad_enabled():
        larger = new.new_empty([batch, 2, heads, max(2 * (past + size), 16 * size), width])
        if buffer is not None:
            larger.narrow(3, 0, past).copy_(buffer.narrow(3, 0, past))
        buffer = larger
    buffer.narrow(3, past, size).copy_(new)
    return buffer


@with_incremental_state
class SelfAttention(Attention):
    """Multi-head self-attention with one fused projection of queries, keys and values.

    Incremental decoding keeps one cache per pass: the passes share the weights, but each has keys of its own.

    Args:
        embed_dim: C.
        heads: number of heads, a divisor of C.
        dropout: of the attention weights.
    """

    def __init__(self, embed_dim: int, heads: int, dropout: float):
        super().__init__(embed_dim, heads, dropout)
        self.qkv_proj = stacked_projection(embed_dim, embed_dim, copies=3, gain=1 / math.sqrt(2))

    def forward(
        self,
        x: Tensor,
        mask: Optional[Tensor] = None,
        causal: bool = False,
        incremental_state: IncrementalState = None,
        pass_index: int = 0,
        past: int = 0,
    ) -> Tensor:
        """Attend within x, and when decoding incrementally also to what this pass has seen before.

        Args:
            x: (T, B, C), in incremental decoding the beams of each sentence: (K, B, C).
            mask, causal, incremental_state, pass_index, past: see ``attend``.

        Returns:
            as x: what the output projection ``out_proj`` reads.
        """
        return self.attend(self.qkv_proj(x), mask, causal, incremental_state, pass_index, past)

    def attend(
        self,
        projected: Tensor,
        mask: Optional[Tensor],
        causal: bool,
        incremental_state: IncrementalState,
        pass_index: int,
        past: int,
    ) -> Tensor:
        """Attention of what is projected.

        Args:
            projected: (T, B, 3C), queries, keys and values; in incremental decoding (K, B, 3C).
            mask: True where attention may go, or additive, broadcastable to (B, H, T, S), S being the cached tokens
                and T. No row may be empty.
            causal: without a mask: attend to earlier tokens only.
            incremental_state: fairseq's caches, or None.
            pass_index: which pass this is; picks the cache.
            past: how many keys are cached.

        Returns:
            (T, B, C).
        """
        if incremental_state is None:
            query, key, value = self.split_heads(projected, 3)
        else:
            heads = projected.view(projected.size(0), projected.size(1), 3, self.heads, -1).permute(1, 2, 3, 0, 4)
            query = heads[:, 0]
            key, value = self.with_cached(incremental_state, heads[:, 1:], pass_index, past).unbind(1)
        causal = causal and mask is None
        out = F.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, dropout_p=self.weight_dropout(), is_causal=causal
        )
        return self.join_heads(out)

    def with_cached(
        self, incremental_state: Dict[str, Dict[str, Optional[Tensor]]], keys: Tensor, pass_index: int, past: int
    ) -> Tensor:
        """Put the step's keys and values (B, 2, H, K, D) behind the cached ones: (B, 2, H, past + K, D)."""
        name = "pass{}".format(pass_index)
        cache = self.get_incremental_state(incremental_state, name)
        buffer = append_in_place(None if cache is None else cache["past"], past, keys)
        if cache is None:
            entry: Dict[str, Optional[Tensor]] = {"past": buffer}
            self.set_incremental_state(incremental_state, name, entry)
        else:
            cache["past"] = buffer
        return buffer.narrow(3, 0, past + keys.size(3))


@with_incremental_state
class CrossAttention(Attention):
    """Attention of the decoder to the encoder's output, with one fused projection of keys and values.

    The keys and values are the same in every pass and at every step, so they are projected once for all passes, and in
    incremental decoding for all steps.

    Args:
        embed_dim: C of the decoder.
        encoder_embed_dim: C of the encoder.
        heads: number of heads, a divisor of C.
        dropout: of the attention weights.
    """

    def __init__(self, embed_dim: int, encoder_embed_dim: int, heads: int, dropout: float):
        super().__init__(embed_dim, heads, dropout)
        gain = 1 / math.sqrt(2) if embed_dim == encoder_embed_dim else 1.0
        self.q_proj = stacked_projection(embed_dim, embed_dim, copies=1, gain=gain)
        self.kv_proj = stacked_projection(encoder_embed_dim, embed_dim, copies=2, gain=gain)

    def forward(
        self, x: Tensor, encoded: Tuple[Tensor, Tensor], mask: Optional[Tensor] = None, need_weights: bool = False
    ) -> Tuple[Tensor, Optional[Tensor]]:
        """Attend from x to the encoder's output.

        Args:
            x: (T, B, C).
            encoded: keys and values, (B, H, S, D) each, of ``keys_and_values``.
            mask: additive, broadcastable to (B, H, T, S).
            need_weights: also return the weights.

        Returns:
            (T, B, C): what the output projection ``out_proj`` reads; and the weights (B, H, T, S) or None.
        """
        return self.attend(self.q_proj(x), encoded, mask, need_weights)

    def attend(
        self, projected: Tensor, encoded: Tuple[Tensor, Tensor], mask: Optional[Tensor], need_weights: bool
    ) -> Tuple[Tensor, Optional[Tensor]]:
        """``forward`` with queries (T, B, C) that are projected."""
        query = self.split_heads(projected, 1)[0]
        key, value = encoded
        weights: Optional[Tensor] = None
        if need_weights:
            out, weights = attend_with_weights(query, key, value, mask, self.weight_dropout())
        else:
            out = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=self.weight_dropout())
        return self.join_heads(out), weights

    def keys_and_values(self, encoder_out: Tensor, incremental_state: IncrementalState) -> Tuple[Tensor, Tensor]:
        """Keys and values of the encoder's output, (B, H, S, D) each, from the cache if they are there.

        Args:
            encoder_out: (S, B, encoder's C).
            incremental_state: fairseq's caches, or None.
        """
        cache = self.get_incremental_state(incremental_state, "encoder")
        if cache is not None:
            cached_key, cached_value = cache["key"], cache["value"]
            assert cached_key is not None and cached_value is not None
            return cached_key, cached_value
        key, value = self.split_heads(self.kv_proj(encoder_out), 2)
        if incremental_state is not None:
            key, value = key.contiguous(), value.contiguous()  # read at every step
            entry: Dict[str, Optional[Tensor]] = {"key": key, "value": value}
            self.set_incremental_state(incremental_state, "encoder", entry)
        return key, value
