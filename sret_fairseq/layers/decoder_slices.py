"""The decoder's slices. A decoder knows no length before the end, so its slices are parts of a fixed form.

Of a sentence's tokens, the one of rank r (counted among the real ones) is in

    chunk  floor(r / S)   in applications 1, 3, ... of a block along the depth, S tokens a chunk,
    stride r mod G        in applications 2, 4, ...,

and attends to itself and the earlier tokens there. With G = 1 it sees all earlier tokens. In incremental decoding
the caches hold every token, and a mask leaves out those of other slices.
"""

from typing import Dict, List, Optional, Tuple

import torch
from torch import Tensor

from sret_fairseq.layers.beams import hidden_from_beams
from sret_fairseq.layers.layout import Layout, additive, padding_keys, ranks_of, sliced_sentences, whole_sentences


def causal_layout(padding_mask: Tensor, causal: bool, like: Tensor) -> Layout:
    """The layout of an unsliced application in the decoder.

    Args:
        padding_mask: (B, T), True at padding.
        causal: False attends to later tokens too, as ``full_context_alignment`` wants it.
        like: has the number format of the mask.
    """
    if not causal:
        return whole_sentences(padding_keys(padding_mask, like), causal=False)
    padding_before_text = bool((padding_mask[:, :-1] & ~padding_mask[:, 1:]).any())
    if not padding_before_text:
        return whole_sentences(None, causal=True)  # no real token ever sees the padding
    length = padding_mask.size(1)
    later = torch.ones(length, length, dtype=torch.bool, device=padding_mask.device).triu(1)
    return whole_sentences(additive(padding_mask[:, None, None] | later, like), causal=False)


def sliced_layout(
    padding_mask: Tensor, slices: int, chunk_size: int, strided: bool, causal: bool, like: Tensor
) -> Layout:
    """The layout of a sliced application: chunks of ``chunk_size`` tokens, or ``slices`` strides."""
    length = padding_mask.size(1)
    ranks = ranks_of(~padding_mask)
    if strided:
        slice_of, place = ranks % slices, ranks // slices
        size = (length + slices - 1) // slices
    else:
        slice_of, place = ranks // chunk_size, ranks % chunk_size
        slices, size = (length + chunk_size - 1) // chunk_size, min(chunk_size, length)
    return sliced_sentences(padding_mask, slice_of, place, slices, size, causal, like)


def step_layout(
    padding_mask: Tensor, ancestors: Tensor, slices: int, chunk_size: int, strided: bool, like: Tensor
) -> Layout:
    """The layout of an application in incremental decoding: the keys that the last token may see.

    Args:
        padding_mask: (N, T) of all tokens so far, True at padding.
        ancestors: (B, K, T), see beams.py.
        slices, chunk_size, strided: as for ``sliced_layout``; ``slices`` 1 is an application that is not sliced.
        like: a tensor of the type that attention is computed in.
    """
    hidden = padding_mask
    if slices > 1:
        ranks = ranks_of(~padding_mask)
        slice_of = ranks % slices if strided else ranks // chunk_size
        hidden = hidden | (slice_of != slice_of[:, -1:])
    past = ancestors.size(1) * (ancestors.size(2) - 1)
    return whole_sentences(additive(hidden_from_beams(ancestors, hidden), like), causal=False, past=past)


def decoder_layouts(
    padding_mask: Tensor,
    slices: List[int],
    order: List[Tuple[int, bool]],
    chunk_size: int,
    causal: bool,
    ancestors: Optional[Tensor],
    like: Tensor,
) -> List[Layout]:
    """One layout per application of a block of the decoder; equal ones share one.

    Args:
        padding_mask: (B, T), True at padding; in incremental decoding (N, T) of all tokens so far.
        slices: G of each pass.
        order: the applications, see ``applications``; strides where the slices are permuted.
        chunk_size: S.
        causal: attend to earlier tokens only.
        ancestors: (B, K, T) in incremental decoding, in which the last token alone is computed, or None.
        like: a tensor of the type that attention is computed in.
    """
    made: Dict[int, Layout] = {}  # by slices and, as the sign, whether they are strides
    layouts: List[Layout] = []
    for pass_index, is_permuted in order:
        count = slices[pass_index]
        strided = is_permuted and count > 1
        key = -count if strided else count
        if key not in made:
            if ancestors is not None:
                made[key] = step_layout(padding_mask, ancestors, count, chunk_size, strided, like)
            elif count == 1:
                made[key] = causal_layout(padding_mask, causal, like)
            else:
                made[key] = sliced_layout(padding_mask, count, chunk_size, strided, causal, like)
        layouts.append(made[key])
    return layouts
