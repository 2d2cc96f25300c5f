"""Which tokens attend to which in a pass of self-attention: layouts, and the encoder's slices.

Each sentence is sliced by its own length, so neither its batch mates nor the side of the padding matter. Of a sentence
with ``len`` real tokens, the token of rank r (counted among the real ones) is in

    slice floor(r * G / len)   of the contiguous slices,
    slice r mod G              of the interleaved slices,

at most ceil(len / G) tokens a slice either way. A contiguous slice of G tokens or more meets every interleaved one, so
alternating the two lets a token see the whole sentence after two passes.
"""

from typing import Dict, List, NamedTuple, Optional

import torch
from torch import Tensor

from sret_fairseq.layers.attention import additive, allowed_keys


class Layout(NamedTuple):
    """What a pass's self-attention sees: B sentences of T positions whole, or in G slices of n slots each.

    Attributes:
        tokens: (n * B * G), for every slot the row of its token in x.view(T * B, C). Unused slots name a token of the
            same sentence. None when the sentences stay whole.
        slots: (T * B), for every token its row among the n * B * G slots. Padding names a slot of the same sentence.
            None when the sentences stay whole.
        mask: True where attention may go, broadcastable to (B, H, T, T), with slices to (B * G, H, n, n), or None. No
            row is all False. In incremental decoding and for masked slices additive, see attention.py.
        causal: without a mask: attention goes to earlier tokens only.
        rows: B * G, or 0 when the sentences stay whole.
        past: keys that are cached, in incremental decoding.
    """

    tokens: Optional[Tensor]
    slots: Optional[Tensor]
    mask: Optional[Tensor]
    causal: bool
    rows: int
    past: int

    # Free functions below do the work: TorchScript knows no methods on a NamedTuple.


def whole_sentences(mask: Optional[Tensor], causal: bool, past: int = 0) -> Layout:
    """The layout of a pass that is not sliced."""
    return Layout(None, None, mask, causal, 0, past)


def split_into_slices(x: Tensor, layout: Layout) -> Tensor:
    """(T, B, C) -> (n, B * G, C); a whole sentence stays as it is."""
    tokens = layout.tokens
    if tokens is None:
        return x
    return x.flatten(0, 1).index_select(0, tokens).view(-1, layout.rows, x.size(2))


def merge_slices(sliced: Tensor, layout: Layout, batch: int) -> Tensor:
    """(n, B * G, C) -> (T, B, C), the way back."""
    slots = layout.slots
    if slots is None:
        return sliced
    return sliced.flatten(0, 1).index_select(0, slots).view(-1, batch, sliced.size(2))


def ranks_of(real: Tensor) -> Tensor:
    """The rank of every token among the real ones of its sentence, from 0: (B, T) -> (B, T)."""
    return real.cumsum(dim=1) - 1


def random_ranks(ranks: Tensor, real: Tensor) -> Tensor:
    """The ranks of each sentence's real tokens, (B, T), in a random order drawn from torch's generator."""
    keys = torch.rand(ranks.shape, device=ranks.device).masked_fill(~real, 2.0)
    return keys.argsort(dim=1).argsort(dim=1)


def sliced_sentences(
    padding_mask: Tensor, slice_of: Tensor, place: Tensor, slices: int, size: int, may_be_unused: bool, causal: bool
) -> Layout:
    """The layout that puts each real token into a slot of its own.

    Args:
        padding_mask: (B, T), True at padding.
        slice_of, place: (B, T), the slice of each real token, and its slot there; whatever they say of padding.
        slices: G.
        size: n, slots of a slice.
        may_be_unused: False promises that every slot gets a token, which spares a mask.
        causal: slots attend to earlier slots only.
    """
    batch, length = padding_mask.shape
    device = padding_mask.device
    rows = batch * slices
    sentences = torch.arange(batch, device=device)
    slots = place * rows + sentences[:, None] * slices + slice_of
    # Padding goes to one slot more than there are; what it would read back is its sentence's first slot.
    target = slots.masked_fill(padding_mask, size * rows).flatten()
    slots = torch.where(padding_mask, sentences[:, None] * slices, slots)
    rows_of_x = torch.arange(length, device=device) * batch + sentences[:, None]
    tokens = sentences[:, None].repeat(size, 1, slices).flatten()
    tokens = torch.cat([tokens, tokens[:1]]).scatter(0, target, rows_of_x.flatten())[:-1]

    mask: Optional[Tensor] = None
    if may_be_unused:
        unused = torch.ones(size * rows + 1, dtype=torch.bool, device=device)
        unused = unused.scatter(0, target, torch.zeros_like(target, dtype=torch.bool))[:-1]
        mask = allowed_keys(unused.view(size, rows).t())
        if causal:
            # Slots fill up from the first one, so that this leaves no row without a key.
            mask = mask & torch.ones(size, size, dtype=torch.bool, device=device).tril()
    return Layout(tokens, slots.t().flatten(), mask, causal, rows, 0)


def masked_slices(padding_mask: Tensor, slice_of: Tensor, like: Tensor) -> Layout:
    """The layout that leaves the tokens where they are and masks the keys outside a token's slice.

    Args:
        padding_mask: (B, T), True at padding.
        slice_of: (B, T), the slice of each real token; whatever it says of padding.
        like: has the type of the mask.
    """
    # Padding goes to the first slice, which has a token if the sentence has any: no row is without a key.
    slice_of = slice_of.masked_fill(padding_mask, 0)
    same_slice = slice_of[:, None, :, None] == slice_of[:, None, None, :]
    return whole_sentences(additive(same_slice & allowed_keys(padding_mask), like), causal=False)


def encoder_layout(
    padding_mask: Tensor, has_padding: bool, slices: int, permutation: str, mask_like: Optional[Tensor] = None
) -> Layout:
    """The layout of one sliced pass of the encoder.

    Args:
        padding_mask: (B, T), True at padding.
        has_padding: False promises that there is none, which spares a mask.
        slices: G.
        permutation: ``none`` for contiguous slices, ``interleave``, or ``random`` for contiguous slices of the
            sentence shuffled anew at every call.
        mask_like: for short text: mask what is outside a slice, in this tensor's type, instead of moving the tokens.
    """
    length = padding_mask.size(1)
    real = ~padding_mask
    ranks = ranks_of(real)
    if permutation == "random":
        ranks = random_ranks(ranks, real)
    if permutation == "interleave":
        slice_of, place = ranks % slices, ranks // slices
    else:
        lengths = real.sum(dim=1, keepdim=True).clamp(min=1)
        slice_of = ranks * slices // lengths
        place = ranks - (slice_of * lengths + slices - 1) // slices
    if mask_like is not None:
        return masked_slices(padding_mask, slice_of, mask_like)
    may_be_unused = has_padding or length % slices != 0
    size = (length + slices - 1) // slices
    return sliced_sentences(padding_mask, slice_of, place, slices, size, may_be_unused, causal=False)


def encoder_layouts(
    padding_mask: Tensor,
    has_padding: bool,
    slices: List[int],
    permutation: str,
    training: bool,
    mask_like: Optional[Tensor] = None,
) -> List[Layout]:
    """One layout per pass of the encoder; equal passes share one.

    Args:
        padding_mask: (B, T), True at padding.
        has_padding: False promises that there is none.
        slices: G of each pass.
        permutation: what happens to the tokens of every second pass: ``interleave``, ``random`` or ``none``.
        training: ``random`` draws in training only, and interleaves at inference, so that inference is deterministic.
        mask_like: for short text: mask what is outside a slice, in this tensor's type, instead of moving the tokens.
    """
    whole = whole_sentences(allowed_keys(padding_mask) if has_padding else None, causal=False)
    permuted = "interleave" if permutation == "random" and not training else permutation
    made: Dict[int, Layout] = {1: whole, -1: whole}  # by slices and, as the sign, permutation
    layouts: List[Layout] = []
    for pass_index, count in enumerate(slices):
        mode = permuted if pass_index % 2 == 1 else "none"
        key = count if mode == "none" else -count
        if key not in made or (mode == "random" and count > 1):
            made[key] = encoder_layout(padding_mask, has_padding, count, mode, mask_like)
        layouts.append(made[key])
    return layouts
