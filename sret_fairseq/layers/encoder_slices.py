"""The encoder's slices.

Each sentence is sliced by its own length, so neither its batch mates nor the side of the padding matter. Of a sentence
with ``len`` real tokens, the token of rank r (counted among the real ones) is in

    slice floor(r * G / len)   of the contiguous slices,
    slice r mod G              of the interleaved slices,

at most ceil(len / G) tokens a slice either way. The two alternate along the depth. A contiguous slice of G tokens or
more meets every interleaved one, so that from G * G tokens on each sees the whole sentence after two applications.
"""

from typing import Dict, List, Tuple

import torch
from torch import Tensor

from sret_fairseq.layers.layout import Layout, additive, padding_keys, ranks_of, sliced_sentences, whole_sentences


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
    other_slice = slice_of[:, None, :, None] != slice_of[:, None, None, :]
    return whole_sentences(additive(other_slice | padding_mask[:, None, None], like), causal=False)


def encoder_layout(padding_mask: Tensor, slices: int, permutation: str, like: Tensor, gather: bool) -> Layout:
    """The layout of one sliced pass of the encoder.

    Args:
        padding_mask: (B, T), True at padding.
        slices: G.
        permutation: ``none`` for contiguous slices, ``interleave``, or ``random`` for contiguous slices of the
            sentence shuffled anew at every call.
        like: has the number format of the mask.
        gather: move the tokens into slices; else, for short text, mask what is outside.
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
    if not gather:
        return masked_slices(padding_mask, slice_of, like)
    return sliced_sentences(padding_mask, slice_of, place, slices, -(-length // slices), causal=False, like=like)


def encoder_layouts(
    padding_mask: Tensor,
    slices: List[int],
    order: List[Tuple[int, bool]],
    permutation: str,
    training: bool,
    like: Tensor,
    gather: bool,
) -> List[Layout]:
    """One layout per application of a block of the encoder; equal ones share one.

    Args:
        padding_mask: (B, T), True at padding.
        slices: G of each pass.
        order: the applications, see ``applications``.
        permutation: what happens to the tokens where the slices are permuted: ``interleave``, ``random`` or ``none``.
        training: ``random`` draws in training only, and interleaves at inference, so that inference is deterministic.
        like: has the number format of the mask.
        gather: move the tokens into slices; else, for short text, mask what is outside.
    """
    whole = whole_sentences(padding_keys(padding_mask, like), causal=False)
    permuted = "interleave" if permutation == "random" and not training else permutation
    made: Dict[str, Layout] = {}
    layouts: List[Layout] = []
    for pass_index, is_permuted in order:
        count, mode = slices[pass_index], permuted if is_permuted else "none"
        key = "{} {} {}".format(count, mode, pass_index if mode == "random" else 0)  # each pass draws anew
        if key not in made:
            sliced = count > 1
            made[key] = encoder_layout(padding_mask, count, mode, like, gather) if sliced else whole
        layouts.append(made[key])
    return layouts
