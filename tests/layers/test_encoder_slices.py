"""Sliced self-attention against full attention under the equivalent block mask."""

import pytest
import torch

from sret_fairseq.layers.attention import SelfAttention, attend_with_weights
from sret_fairseq.layers.encoder_slices import encoder_layout, encoder_layouts
from sret_fairseq.layers.layout import applications, merge_slices, split_into_slices
from support.models import PAD, build_sret, lengths, pad, source

C, HEADS = 12, 3


def slice_of(length: int, slices: int, interleaved: bool) -> torch.Tensor:
    """The slice of each of a sentence's tokens, straight from the definition: (length,)."""
    ranks = torch.arange(length)
    return ranks % slices if interleaved else torch.floor(ranks * slices / length).long()


def reference(attention, x, padding_mask, slices: int, interleaved: bool):
    """The O(T^2) form: each sentence alone, full attention under a block mask, zeros at padding."""
    out = torch.zeros_like(x)
    for index in range(x.size(1)):
        real = ~padding_mask[index]
        tokens = x[real, index][:, None]
        if len(tokens):
            owner = slice_of(len(tokens), slices, interleaved)
            same = owner[:, None] == owner[None]
            out[real, index] = attention(tokens, same)[:, 0]
    return out


def sliced(attention, x, padding_mask, slices: int, interleaved: bool, masked: bool = False):
    """The module's forms: gather, ordinary attention, scatter; or a mask. Zeros at padding, for comparison."""
    mode = "interleave" if interleaved else "none"
    layout = encoder_layout(padding_mask, slices, mode, x, gather=not masked)
    assert (layout.tokens is None) == masked
    out = merge_slices(attention(split_into_slices(x, layout), layout.mask), layout, x.size(1))
    assert torch.isfinite(out).all()
    return out.masked_fill(padding_mask.t()[:, :, None], 0.0)


def attention_module(seed: int = 0) -> SelfAttention:
    torch.manual_seed(seed)
    return SelfAttention(C, HEADS, dropout=0.0).eval()


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("slices", [1, 2, 3, 4, 8])
def test_equals_block_mask_for_every_length(slices, interleaved, masked):
    """Invariant 6: every length from 1 up, T < G and T not divisible by G included, without padding."""
    attention = attention_module()
    for length in range(1, 21):
        x = torch.randn(length, 2, C)
        padding_mask = torch.zeros(2, length, dtype=torch.bool)
        expected = reference(attention, x, padding_mask, slices, interleaved)
        out = sliced(attention, x, padding_mask, slices, interleaved, masked)
        torch.testing.assert_close(out, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("scripted", [False, True])
@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("slices", [2, 3, 7])
def test_equals_block_mask_with_padding(slices, interleaved, left, scripted, masked):
    """Invariant 6: sentences of length 0 to 13 in one batch; whole slices are padding, eager and scripted."""
    attention = attention_module()
    batch = pad([source(length, seed=length) for length in (13, 1, 2, 6, 12)], left=left, length=15)
    batch = torch.cat([batch, torch.full((1, 15), PAD)])
    x = torch.randn(15, len(batch), C)
    expected = reference(attention, x, batch.eq(PAD), slices, interleaved)
    module = torch.jit.script(attention) if scripted else attention
    out = sliced(module, x, batch.eq(PAD), slices, interleaved, masked)
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=0)


def test_weights_of_slices_of_padding_are_finite():
    """Invariant 6: attention that also returns its weights agrees with torch's, and no slice of padding makes NaN."""
    batch = torch.cat([pad([source(13), source(2)], length=15), torch.full((1, 15), PAD)])
    layout = encoder_layout(batch.eq(PAD), 4, "none", torch.zeros(1), gather=True)
    query, key, value = (torch.randn(layout.rows, HEADS, 4, C) for _ in range(3))
    out, weights = attend_with_weights(query, key, value, layout.mask, 0.0)
    expected = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=layout.mask)
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(weights.sum(-1), torch.ones(layout.rows, HEADS, 4))


def test_long_sentence_equals_block_mask():
    """Invariant 6 at a length where the slices are long and uneven."""
    attention = attention_module()
    x, padding_mask = torch.randn(301, 1, C), torch.zeros(1, 301, dtype=torch.bool)
    for interleaved in (False, True):
        expected = reference(attention, x, padding_mask, 4, interleaved)
        torch.testing.assert_close(sliced(attention, x, padding_mask, 4, interleaved), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("masked", [False, True])
def test_gradients_equal_those_of_the_block_mask(masked):
    """The way through the slices and back has the right derivative, and padding gets none."""
    attention = attention_module()
    padding_mask = pad([source(7), source(4)], length=9).eq(PAD)
    x = torch.randn(9, 2, C, requires_grad=True)
    weight = torch.randn(9, 2, C)
    (expected,) = torch.autograd.grad((reference(attention, x, padding_mask, 3, True) * weight).sum(), x)
    (gradient,) = torch.autograd.grad((sliced(attention, x, padding_mask, 3, True, masked) * weight).sum(), x)
    torch.testing.assert_close(gradient, expected, atol=1e-5, rtol=0)
    assert gradient[padding_mask.t()].abs().max() == 0


def test_interleaved_slices_hold_tokens_of_every_contiguous_one():
    """Why slices mix: with G*G tokens or more each interleaved slice meets each contiguous slice."""
    for slices in (2, 3, 5):
        for length in range(slices * slices, 40):
            met = {*zip(slice_of(length, slices, False).tolist(), slice_of(length, slices, True).tolist())}
            assert len(met) == slices * slices


def test_random_layout_is_a_partition_of_the_same_shape():
    """A random permutation puts every token into one slot, in slices as large as the contiguous ones."""
    torch.manual_seed(3)
    padding_mask = pad([source(11), source(5)], left=True).eq(PAD)
    random = encoder_layout(padding_mask, 3, "random", torch.zeros(1), gather=True)
    contiguous = encoder_layout(padding_mask, 3, "none", torch.zeros(1), gather=True)
    real = ~padding_mask.t().flatten()
    assert len(set(random.slots[real].tolist())) == real.sum()
    assert random.tokens[random.slots[real]].tolist() == torch.arange(22)[real].tolist()
    assert torch.equal(random.mask, contiguous.mask)
    assert not torch.equal(random.slots, contiguous.slots)


@pytest.mark.parametrize("permutation", ["none", "interleave", "random"])
def test_short_batches_are_masked_and_long_ones_gathered(permutation):
    """The same encoding either way, around the length where the encoder changes from one to the other."""
    model = build_sret(encoder_slices="2,3", slice_permutation=permutation)
    for length in (11, 12, 13):
        batch = pad([source(length, seed=1), source(length - 4, seed=2)], left=True)
        encoded = []
        for gather_from in (length, length + 1):
            model.encoder.gather_from = gather_from
            torch.manual_seed(5)
            out = model.train().encoder(batch, lengths(batch))["encoder_out"][0]
            encoded.append(out.transpose(0, 1)[batch.ne(PAD)])
        torch.testing.assert_close(encoded[0], encoded[1], atol=1e-5, rtol=0)


def test_encoder_layouts():
    """Every second pass is permuted, equal passes share a layout, one slice is the whole, inference never draws."""
    padding_mask = torch.zeros(2, 9, dtype=torch.bool)

    def made(slices, permutation, training):
        order = applications(len(slices), span=1, groups=1)
        return encoder_layouts(padding_mask, slices, order, permutation, training, torch.zeros(1), gather=True)

    layouts = made([3, 3, 3, 3, 1, 2], "interleave", training=True)
    assert layouts[0] is layouts[2] and layouts[1] is layouts[3]
    assert torch.equal(
        layouts[1].tokens, encoder_layout(padding_mask, 3, "interleave", torch.zeros(1), gather=True).tokens
    )
    assert layouts[4].tokens is None and layouts[5].rows == 2 * 2
    unpermuted = made([3, 3, 2, 3], "none", training=True)
    assert unpermuted[0] is unpermuted[1] is unpermuted[3] and unpermuted[2].rows == 2 * 2
    drawn = made([3, 3, 3, 3], "random", training=True)
    assert not torch.equal(drawn[1].tokens, drawn[3].tokens)
    inferred = made([3, 3], "random", training=False)
    assert torch.equal(inferred[1].tokens, layouts[1].tokens)
