"""The decoder's slices against full attention under the mask that their definition gives."""

import pytest
import torch

from sret_fairseq.layers.attention import SelfAttention
from sret_fairseq.layers.decoder_slices import decoder_layouts
from sret_fairseq.layers.layout import applications, merge_slices, split_into_slices
from support.models import PAD, build_sret, logits, pad, source, target

C, HEADS, CHUNK, STRIDES = 12, 3, 5, 3


def layouts_of(padding_mask, slices, chunk_size, causal=True, ancestors=None):
    """The layouts of a group of one block."""
    order = applications(len(slices), span=1, groups=1)
    return decoder_layouts(padding_mask, slices, order, chunk_size, causal, ancestors, like=torch.zeros(1))


def may_see(length: int, pass_index: int, slices: int) -> torch.Tensor:
    """Which earlier token each token sees in a pass, straight from the definition: (length, length)."""
    token, other = torch.arange(length)[:, None], torch.arange(length)[None]
    same = token // CHUNK == other // CHUNK if pass_index % 2 == 0 else token % STRIDES == other % STRIDES
    return (same | (slices == 1)) & (other <= token)


@pytest.mark.parametrize("scripted", [False, True])
@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("slices", [[STRIDES, STRIDES], [1, STRIDES], [STRIDES, 1]])
def test_equals_mask_of_the_definition(slices, left, scripted):
    """Chunks and strides, for sentences of length 0 to 14 in one batch, padded on either side, eager and scripted."""
    torch.manual_seed(0)
    attention = SelfAttention(C, HEADS, dropout=0.0).eval()
    module = torch.jit.script(attention) if scripted else attention
    batch = pad([target(length, seed=length) for length in (14, 1, 2, 5, 6, 11)], left=left, length=16)
    padding_mask = torch.cat([batch, torch.full((1, 16), PAD)]).eq(PAD)
    x = torch.randn(16, len(padding_mask), C)
    layouts = layouts_of(padding_mask, slices, CHUNK)
    for pass_index, layout in enumerate(layouts):
        out = merge_slices(module(split_into_slices(x, layout), layout.mask, layout.causal), layout, x.size(1))
        assert torch.isfinite(out).all()
        for row, real in enumerate(~padding_mask):
            if real.any():
                mask = may_see(int(real.sum()), pass_index, slices[pass_index])
                expected = attention(x[real, row][:, None], mask)
                torch.testing.assert_close(out[real, row][:, None], expected, atol=1e-5, rtol=0)


def test_without_causality_the_later_tokens_of_a_slice_are_seen():
    """``full_context_alignment``: the slices stay, the order within them does not matter."""
    padding_mask = torch.zeros(2, 11, dtype=torch.bool)
    layouts = layouts_of(padding_mask, [STRIDES, STRIDES], CHUNK, causal=False)
    for layout in layouts:
        assert not layout.causal and layout.mask.size(2) == 1


def test_equal_passes_share_a_layout():
    """Passes 1 and 3 are the same chunks, 2 and 4 the same strides; unsliced passes are all alike."""
    padding_mask = torch.zeros(2, 9, dtype=torch.bool)
    for ancestors in (None, torch.zeros(1, 2, 9, dtype=torch.long)):
        layouts = layouts_of(padding_mask, [2, 3, 2, 3, 1, 1], 4, ancestors=ancestors)
        assert layouts[0] is layouts[2] and layouts[1] is layouts[3] and layouts[4] is layouts[5]
        assert layouts[0] is not layouts[1]


@pytest.mark.parametrize("options", [{"decoder_slices": "3", "decoder_chunk_size": 7}, {"decoder_slices": "1,4"}])
def test_every_target_length_decodes_step_by_step_as_in_training(options):
    """Invariant 3 for lengths 1 to 300: one run of 300 steps against the full pass over each of its prefixes.

    A causal model's logits at position t are those of every longer prefix, so each step stands for one length; the
    full pass is computed anew for lengths around the borders of chunks and strides.
    """
    length = 300
    model = build_sret(decoder_layers=1, encoder_layers=1, **options)
    sources, targets = source(6)[None], target(length)[None]
    encoder_out = model.encoder(sources, torch.tensor([6]))
    state = {}
    steps = [
        model.decoder(targets[:, : step + 1], encoder_out=encoder_out, incremental_state=state)[0]
        for step in range(length)
    ]
    stepwise = torch.cat(steps, dim=1)
    for prefix in [*range(1, 40), 111, 112, 113, 299, 300]:
        full = logits(model, sources, targets[:, :prefix])
        torch.testing.assert_close(stepwise[:, :prefix], full, atol=3e-5, rtol=0)


def test_slices_change_the_model():
    """A model with slices is another model than one without: the option is not ignored."""
    plain, sliced = build_sret(), build_sret(decoder_slices="2", decoder_chunk_size=3)
    sources, targets = source(6)[None], target(9)[None]
    difference = (logits(plain, sources, targets) - logits(sliced, sources, targets)).abs().amax(dim=(0, 2))
    assert difference[0] < 1e-5 < difference[-1]
