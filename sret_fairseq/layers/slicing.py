"""Which tokens attend to which in sliced self-attention, and the way there and back.

Each sentence is sliced by its own length, so neither its batch mates nor the side of the padding matter. Of a sentence
with ``len`` real tokens, the token of rank r (counted among the real ones) is in

    slice floor(r * G / len)   of the contiguous slices,
    slice r mod G              of the interleaved slices,

at most ceil(len / G) tokens a slice either way. A contiguous slice of G tokens or more meets every interleaved one, so
alternating the two lets a token see the whole sentence after two passes.
"""

from typing import List, NamedTuple, Optional

import torch
from torch import Tensor

from sret_fairseq.layers.attention import allowed_keys


class SliceLayout(NamedTuple):
    """The way of tokens into slices and back, for B sentences of T positions in G slices of n slots.

    Attributes:
        tokens: (n * B * G), for every slot the row of its token in x.view(T * B, C). Unused slots name a token of the
            same sentence.
        slots: (T * B), for every token its row among the n * B * G slots. Padding names a slot of the same sentence.
        mask: boolean (B * G, 1, 1, n), True at the slots in use, or None when all are.
        rows: B * G.
    """

    tokens: Tensor
    slots: Tensor
    mask: Optional[Tensor]
    rows: int

    # Free functions below do the work: TorchScript knows no methods on a NamedTuple.


def split_into_slices(x: Tensor, layout: SliceLayout) -> Tensor:
    """(T, B, C) -> (n, B * G, C)."""
    return x.flatten(0, 1).index_select(0, layout.tokens).view(-1, layout.rows, x.size(2))


def merge_slices(sliced: Tensor, layout: SliceLayout, batch: int) -> Tensor:
    """(n, B * G, C) -> (T, B, C), the way back."""
    return sliced.flatten(0, 1).index_select(0, layout.slots).view(-1, batch, sliced.size(2))


def random_ranks(ranks: Tensor, real: Tensor) -> Tensor:
    """The ranks of each sentence's real tokens, (B, T), in a random order drawn from torch's generator."""
    keys = torch.rand(ranks.shape, device=ranks.device).masked_fill(~real, 2.0)
    return keys.argsort(dim=1).argsort(dim=1)


def slice_layout(padding_mask: Tensor, has_padding: bool, slices: int, permutation: str) -> SliceLayout:
    """The layout of one pass.

    Args:
        padding_mask: (B, T), True at padding.
        has_padding: False promises that there is none, which spares a mask.
        slices: G.
        permutation: ``none`` for contiguous slices, ``interleave``, or ``random`` for contiguous slices of the
            sentence shuffled anew at every call.
    """
    batch, length = padding_mask.shape
    device = padding_mask.device
    size = (length + slices - 1) // slices
    real = ~padding_mask
    ranks = real.cumsum(dim=1) - 1
    if permutation == "random":
        ranks = random_ranks(ranks, real)
    if permutation == "interleave":
        slice_of, place = ranks % slices, ranks // slices
    else:
        lengths = real.sum(dim=1, keepdim=True).clamp(min=1)
        slice_of = ranks * slices // lengths
        place = ranks - (slice_of * lengths + slices - 1) // slices

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
    if has_padding or length % slices != 0:
        unused = torch.ones(size * rows + 1, dtype=torch.bool, device=device)
        unused = unused.scatter(0, target, torch.zeros_like(target, dtype=torch.bool))[:-1]
        mask = allowed_keys(unused.view(size, rows).t())
    return SliceLayout(tokens, slots.t().flatten(), mask, rows)


def layouts_by_pass(
    padding_mask: Tensor, has_padding: bool, slices: List[int], permutation: str, training: bool
) -> List[Optional[SliceLayout]]:
    """One layout per pass, None where a pass is not sliced; equal passes share one.

    Args:
        padding_mask: (B, T), True at padding.
        has_padding: False promises that there is none.
        slices: G of each pass.
        permutation: what happens to the tokens of every second pass: ``interleave``, ``random`` or ``none``.
        training: ``random`` draws in training only, and interleaves at inference, so that inference is deterministic.
    """
    permuted = "interleave" if permutation == "random" and not training else permutation
    modes = [permuted if pass_index % 2 == 1 else "none" for pass_index in range(len(slices))]
    layouts: List[Optional[SliceLayout]] = []
    for count, mode in zip(slices, modes):
        layout: Optional[SliceLayout] = None
        if mode != "random":
            for earlier in range(len(layouts)):
                if slices[earlier] == count and modes[earlier] == mode:
                    layout = layouts[earlier]
        if layout is None and count > 1:
            layout = slice_layout(padding_mask, has_padding, count, mode)
        layouts.append(layout)
    return layouts
