"""Which tokens attend to which in an application of self-attention: masks and layouts."""

from typing import List, NamedTuple, Optional, Tuple

import torch
from torch import Tensor


def additive(hidden: Tensor, like: Tensor) -> Tensor:
    """What attention adds to its scores, which torch would make of a boolean mask anew at every call: 0 or -30,000.

    No softmax leaves anything of that, and it is a number in every format: where all is hidden, that is at padding, the
    result means nothing, but is no NaN.

    Args:
        hidden: True where attention may not go.
        like: has the number format of the result.

    Returns:
        as hidden.
    """
    return (hidden * -3e4).to(like.dtype)


def padding_keys(padding_mask: Tensor, like: Tensor) -> Tensor:
    """The mask that hides padding: (B, S), True at padding -> (B, 1, 1, S), additive."""
    return additive(padding_mask, like)[:, None, None]


class Layout(NamedTuple):
    """What a pass's self-attention sees: B sentences of T positions whole, or in G slices of n slots each.

    Attributes:
        tokens: (n * B * G), for every slot the row of its token in x.view(T * B, C). Unused slots name a token of the
            same sentence. None when the sentences stay whole.
        slots: (T * B), for every token its row among the n * B * G slots. Padding names a slot of the same sentence.
            None when the sentences stay whole.
        mask: additive, broadcastable to (B, H, T, T), with slices to (B * G, H, n, n), in incremental decoding to
            (B, H, K, T * K) of K beams; or None.
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


def applications(passes: int, span: int, groups: int, along_passes: bool = False) -> List[Tuple[int, bool]]:
    """The applications of blocks along the depth of a side, in order: in every second one the slices are permuted.

    Were it every second pass instead, a model of one pass would never mix its slices, and of three passes a group's
    last slices would be those of the next one's first.

    Args:
        passes: R, of each recursion group.
        span: K, blocks of a group.
        groups: how many follow one another.
        along_passes: every second pass, all the same, for models that were trained so.

    Returns:
        of each application the pass, and whether its slices are permuted.
    """
    order: List[Tuple[int, bool]] = []
    for _ in range(groups):
        for pass_index in range(passes):
            for _ in range(span):
                order.append((pass_index, (pass_index if along_passes else len(order)) % 2 == 1))
    return order


def ranks_of(real: Tensor) -> Tensor:
    """The rank of every token among the real ones of its sentence, from 0: (B, T) -> (B, T)."""
    return real.cumsum(dim=1) - 1


def sliced_sentences(
    padding_mask: Tensor, slice_of: Tensor, place: Tensor, slices: int, size: int, causal: bool, like: Tensor
) -> Layout:
    """The layout that puts each real token into a slot of its own.

    Args:
        padding_mask: (B, T), True at padding.
        slice_of, place: (B, T), the slice of each real token, and its slot there; whatever they say of padding.
        slices: G.
        size: n, slots of a slice.
        causal: slots attend to earlier slots only.
        like: has the number format of the mask.
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

    hidden = torch.ones(size * rows + 1, dtype=torch.bool, device=device).scatter(0, target, False)[:-1]
    # A GPU's fast kernels want a row of the mask in one piece; without them torch takes its slow one and says nothing.
    hidden = hidden.view(size, rows).t().contiguous()[:, None, None]
    if causal:
        hidden = hidden | torch.ones(size, size, dtype=torch.bool, device=device).triu(1)
    mask = additive(hidden, like)
    return Layout(tokens, slots.t().flatten(), mask, causal, rows, 0)
