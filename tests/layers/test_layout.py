"""Masks lie in memory as a GPU's fast attention wants them: the keys of a query next to one another.

torch takes its slow kernel for others and says nothing. A CPU takes them all.
"""

import pytest
import torch

from sret_fairseq.layers import beams
from sret_fairseq.layers.decoder_slices import decoder_layouts
from sret_fairseq.layers.encoder_slices import encoder_layouts
from sret_fairseq.layers.layout import applications

ORDER = applications(passes=3, span=1, groups=1)


def padding(left: bool) -> torch.Tensor:
    """(3, 14): sentences of 14, 9 and 2 tokens."""
    hidden = torch.arange(14) >= torch.tensor([[14], [9], [2]])
    return hidden.flip(1) if left else hidden


def assert_rows_in_one_piece(layouts) -> None:
    masks = [layout.mask for layout in layouts if layout.mask is not None]
    assert masks
    for mask in masks:
        assert mask.stride(-1) == 1 or mask.size(-1) == 1, (mask.shape, mask.stride())


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("gather", [False, True])
@pytest.mark.parametrize("permutation", ["interleave", "random", "none"])
def test_encoder(permutation, gather, left):
    options = {"training": True, "like": torch.zeros(1), "gather": gather}
    assert_rows_in_one_piece(encoder_layouts(padding(left), [1, 2, 4], ORDER, permutation, **options))


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("causal", [False, True])
def test_decoder(causal, left):
    layouts = decoder_layouts(padding(left), [1, 2, 3], ORDER, 5, causal, ancestors=None, like=torch.zeros(1))
    assert_rows_in_one_piece(layouts)


@pytest.mark.parametrize("beam", [1, 3])
def test_steps(beam):
    """Of a search, after a few of them."""
    ancestors = torch.zeros([3 // beam, beam, 0], dtype=torch.long)
    for _ in range(14):
        ancestors = beams.step(ancestors)
    layouts = decoder_layouts(padding(False), [1, 2, 3], ORDER, 5, True, ancestors, like=torch.zeros(1))
    assert_rows_in_one_piece(layouts)
