"""The order of blocks, passes and projections, against loops that are written out."""

import pytest
import torch

from sret_fairseq.layers.block import Memory
from sret_fairseq.layers.encoder_slices import encoder_layouts
from sret_fairseq.layers.layout import applications, whole_sentences
from support.models import build_sret, lengths, pad, source, target

# What each setting applies, as (block, pass) in the whole stack; a pass is followed by the projection of that block.
ORDERS = {
    "sequence": ({"layers": 2, "recursions": 3}, [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]),
    "cycle": ({"layers": 2, "recursions": 2, "recursion_span": 2}, [(0, 0), (1, 0), (0, 1), (1, 1)]),
    "cycle-reverse": (
        {"layers": 3, "recursions": 3, "recursion_span": 3, "reverse": True},
        [(0, 0), (1, 0), (2, 0), (2, 1), (1, 1), (0, 1), (0, 2), (1, 2), (2, 2)],
    ),
    "pairs": (
        {"layers": 4, "recursions": 2, "recursion_span": 2},
        [(0, 0), (1, 0), (0, 1), (1, 1), (2, 0), (3, 0), (2, 1), (3, 1)],
    ),
}


def build(side: str, settings: dict):
    settings = dict(settings)
    reverse = settings.pop("reverse", False)
    return build_sret(recursion_reverse=reverse, **{f"{side}_{name}": value for name, value in settings.items()})


def block_and_projection(stack, number: int, pass_index: int, span: int):
    """Block ``number`` of a stack of groups and the projection that follows it in this pass."""
    group = stack.layers[number // span]
    return group.blocks[number % span], group.projections[pass_index][number % span]


NOTHING = Memory(None, None, None)


@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize("name", ORDERS)
def test_encoder_order(name, graded):
    """The encoder's groups apply blocks, projections and layouts in the order of the table."""
    settings, order = ORDERS[name]
    encoder = build("encoder", settings).encoder
    x = torch.randn(7, 2, 16)
    layouts = [whole_sentences(None, False)] * settings["recursions"] * settings.get("recursion_span", 1)
    out, expected = x, x
    for group in encoder.layers:
        with torch.set_grad_enabled(graded):
            out, _ = group(out, layouts, NOTHING)
    for number, pass_index in order:
        block, projection = block_and_projection(encoder, number, pass_index, settings.get("recursion_span", 1))
        expected = projection(block(expected, layouts[0], pass_index, NOTHING, False)[0])
    torch.testing.assert_close(out, expected, atol=1e-5 if graded else 0, rtol=0)


@pytest.mark.parametrize("name", ORDERS)
def test_decoder_order(name):
    """The decoder's groups likewise; the weights of attention are those of the group's last application."""
    settings, order = ORDERS[name]
    decoder = build("decoder", settings).decoder
    x, encoder_out = torch.randn(5, 2, 24), torch.randn(3, 2, 16)
    layouts = [whole_sentences(None, True)] * settings["recursions"] * settings.get("recursion_span", 1)
    memory = Memory(encoder_out, None, None)
    out, expected = x, x
    for group in decoder.layers:
        out, weights = group(out, layouts, memory, need_weights=True)
    for number, pass_index in order:
        block, projection = block_and_projection(decoder, number, pass_index, settings.get("recursion_span", 1))
        expected, expected_weights = block(expected, layouts[0], pass_index, block.read(memory), True)
        expected = projection(expected)
    torch.testing.assert_close(out, expected, atol=2e-5, rtol=0)
    torch.testing.assert_close(weights, expected_weights, atol=2e-5, rtol=0)
    assert weights.shape == (2, 2, 5, 3)


@pytest.mark.parametrize("graded, checkpoint", [(False, False), (True, False), (True, True)])
def test_the_source_is_projected_once_for_all_passes(graded, checkpoint):
    """Into the keys and values of each block's cross-attention; with gradients too, and not again for them."""
    settings, calls = {"decoder_layers": 4, "decoder_recursion_span": 2, "decoder_recursions": 3}, []
    model = build_sret(checkpoint_activations=checkpoint, **settings)
    for name, module in model.named_modules():
        if name.endswith(".kv_proj"):
            module.register_forward_hook(lambda *_: calls.append(1))
    sources = pad([source(9, seed=1), source(3, seed=2)], left=True)
    with torch.set_grad_enabled(graded):
        logits, _ = model(sources, lengths(sources), torch.stack([target(6), target(6, seed=1)]))
    if graded:
        logits.sum().backward()
    assert len(calls) == 4


@torch.no_grad()
def test_each_application_takes_its_own_layout():
    """Slices of 2, then 3 of the same block: the group hands layout n to application n."""
    encoder = build_sret(encoder_layers=1, encoder_slices="2,3").encoder
    x = torch.randn(7, 2, 16)
    layouts = encoder_layouts(
        torch.zeros(2, 7, dtype=torch.bool), [2, 3], applications(2, 1, 1), "interleave", False, x, gather=True
    )
    (group,) = encoder.layers
    expected = x
    for pass_index in range(2):
        expected, _ = group.blocks[0](expected, layouts[pass_index], pass_index, NOTHING, False)
        expected = group.projections[pass_index][0](expected)
    assert torch.equal(group(x, layouts, NOTHING)[0], expected)
    assert not torch.equal(group(x, layouts[::-1], NOTHING)[0], expected)
