"""The encoder's slices.

Each sentence is sliced by its own length, so neither its batch mates nor the side of the padding matter. Of a sentence
with ``len`` real tokens, the token of rank r (counted among the real ones) is in

    slice floor(r * G / len)   of the contiguous slices,
    slice r mod G              of the interleaved slices,

at most ceil(len / G) tokens a slice either way. The two alternate along the depth. A contiguous slice of G tokens or
more meets every interleaved one, so that from G * G tokens on each sees the whole sentence after two applications.
"""

from typing import Dict, List, Optional, Tuple

import torch
from torch import Tensor

from sret_fairseq.layers.layout import Layout, additive, allowed_keys, ranks_of, sliced_sentences, whole_sentences


def random_ranks(ranks: Tensor, real: Tensor) -> Tensor:
    """The ranks of each sentence's real tokens, (B, T), in a random order drawn from torch's generator."""
    keys = torch.rand(ranks.shape, device=ranks.device).masked_fill(~real, 2.0)
    return keys.argsort(dim=1).argsort(dim=1)


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
    order: List[Tuple[int, bool]],
    permutation: str,
    training: bool,
    mask_like: Optional[Tensor] = None,
) -> List[Layout]:
    """One layout per application of a block of the encoder; equal ones share one.

    Args:
        padding_mask: (B, T), True at padding.
        has_padding: False promises that there is none.
        slices: G of each pass.
        order: the applications, see ``applications``.
        permutation: what happens to the tokens where the slices are permuted: ``interleave``, ``random`` or ``none``.
        training: ``random`` draws in training only, and interleaves at inference, so that inference is deterministic.
        mask_like: for short text: mask what is outside a slice, in this tensor's type, instead of moving the tokens.
    """
    whole = whole_sentences(allowed_keys(padding_mask) if has_padding else None, causal=False)
    permuted = "interleave" if permutation == "random" and not training else permutation
    made: Dict[str, Layout] = {}
    layouts: List[Layout] = []
    for pass_index, is_permuted in order:
        count, mode = slices[pass_index], permuted if is_permuted else "none"
        key = "{} {} {}".format(count, mode, pass_index if mode == "random" else 0)  # each pass draws anew
        if key not in made:
            sliced = count > 1
            made[key] = encoder_layout(padding_mask, has_padding, count, mode, mask_like) if sliced else whole
        layouts.append(made[key])
    return layouts
