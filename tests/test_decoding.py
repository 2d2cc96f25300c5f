"""Incremental decoding, caches, determinism. What no batch and no later word may change is in test_properties.py."""

import pytest
import torch

from sret_fairseq.layers.beams import MOST_TOGETHER
from support import models
from support.models import COMBINATIONS, PAD, build_sret, generate, lengths, logits, pad, source, target

TABLE = pytest.mark.parametrize("options", COMBINATIONS.values(), ids=COMBINATIONS)


def decode_stepwise(model, sources, targets, reorder=None, copies=1):
    """Logits (B, T, V) of incremental decoding, token by token; reorder(step) gives a new order of rows or None.

    With ``copies`` each sentence is encoded once and copied, as a search does for its beams.
    """
    encoder_out = model.encoder(sources, lengths(sources))
    if copies > 1:
        rows = torch.arange(len(sources)).repeat_interleave(copies)
        encoder_out = model.encoder.reorder_encoder_out(encoder_out, rows)
    state, steps = {}, []
    for step in range(targets.size(1)):
        order = reorder(step) if reorder else None
        if order is not None:
            model.decoder.reorder_incremental_state_scripting(state, order)
            encoder_out = model.encoder.reorder_encoder_out(encoder_out, order)
            targets = targets[order]
            steps = [out[order] for out in steps]
        steps.append(model.decoder(targets[:, : step + 1], encoder_out=encoder_out, incremental_state=state)[0])
    return torch.cat(steps, dim=1), targets


ORDERS = {
    "within sentences": {
        2: torch.tensor([2, 0, 1, 3, 3, 5, 8, 7, 6]),
        4: torch.tensor([0, 0, 2, 8, 6, 6]),  # the second sentence is done
        6: torch.tensor([1, 0, 2, 3, 5, 4]),
    },
    "beams apart": {
        2: torch.tensor([1, 1, 0, 4, 3, 5, 6, 8, 7]),
        4: torch.tensor([2, 0, 5, 3, 8]),  # sentences keep different numbers of beams
        5: torch.tensor([1, 0, 2, 2, 4]),
        6: torch.tensor([0, 3, 4]),
    },
}


@pytest.mark.parametrize("order, copies", [("within sentences", 3), ("beams apart", 3), ("beams apart", 1)])
@TABLE
def test_incremental_equals_full_when_beams_are_reordered(options, order, copies):
    """Invariant 3: sentences drop out and beams are permuted and duplicated, known as copies of a sentence or not."""
    model, orders = build_sret(**options), ORDERS[order]
    beam = 3
    one_each = pad([source(7), source(11, seed=1), source(2, seed=2)], left=True)
    targets = pad([target(8, seed=seed) for seed in range(3 * beam)])
    sources = one_each if copies == beam else one_each.repeat_interleave(beam, dim=0)
    stepwise, targets = decode_stepwise(model, sources, targets, orders.get, copies)
    sentences = torch.arange(3).repeat_interleave(beam)
    for order in orders.values():
        sentences = sentences[order]
    torch.testing.assert_close(stepwise, logits(model, one_each[sentences], targets), atol=2e-5, rtol=0)


def test_beams_of_a_sentence_share_the_caches_of_the_encoder():
    """The point of the table of ancestors: reordering within sentences moves no cache, dropping one shrinks all."""
    model = build_sret(decoder_layers=1, decoder_recursions=1)
    encoder_out = model.encoder(pad([source(5), source(4)]), None)
    rows = torch.tensor([0, 0, 0, 1, 1, 1])
    encoder_out = model.encoder.reorder_encoder_out(encoder_out, rows)
    state = {}
    model.decoder(torch.full((6, 1), 2), encoder_out=encoder_out, incremental_state=state)
    caches = {name: entry["key"] for name, entry in state.items() if "key" in entry}
    assert [keys.size(0) for keys in caches.values()] == [2]
    order = torch.tensor([2, 1, 1, 3, 5, 4])
    assert model.encoder.reorder_encoder_out(encoder_out, order) is encoder_out
    model.decoder.reorder_incremental_state_scripting(state, order)
    assert all(state[name]["key"] is keys for name, keys in caches.items())
    model.decoder.reorder_incremental_state_scripting(state, torch.tensor([4, 3, 3]))
    assert all(state[name]["key"].size(0) == 1 for name in caches)


@pytest.mark.parametrize("beam, together", [(MOST_TOGETHER, True), (MOST_TOGETHER + 1, False)])
def test_a_wide_search(beam, together):
    """Beyond a number of beams each has caches of its own, since all would attend to all; the logits stay."""
    model = build_sret(decoder_slices="1,2", decoder_chunk_size=2)
    sources, targets = pad([source(5), source(7, seed=1)]), pad([target(4, seed=seed) for seed in range(2 * beam)])
    rows = torch.arange(2).repeat_interleave(beam)
    order = torch.cat([torch.arange(beam).flip(0), beam + torch.arange(beam) // 2])
    stepwise, targets = decode_stepwise(model, sources, targets, {2: order}.get, beam)
    torch.testing.assert_close(stepwise, logits(model, sources[rows], targets), atol=2e-5, rtol=0)
    state, encoder_out = {}, model.encoder.reorder_encoder_out(model.encoder(sources, lengths(sources)), rows)
    model.decoder(targets[:, :1], encoder_out=encoder_out, incremental_state=state)
    assert state["beams"]["ancestors"].shape == ((2, beam, 1) if together else (2 * beam, 1, 1))


def test_joined_outputs_of_the_encoder_are_different_sentences():
    """Sentences that were encoded one by one are not taken for copies of one, also when they change places."""
    model = build_sret()
    sources, targets = torch.stack([source(7), source(7, seed=1)]), torch.stack([target(6), target(6, seed=1)])
    alone = [model.encoder(tokens[None], None) for tokens in sources]
    joined = {
        name: [torch.cat(pair, dim=int(name == "encoder_out")) for pair in zip(*(out[name] for out in alone))]
        for name in alone[0]
    }
    for order in ([0, 1], [1, 0]):
        encoder_out = model.encoder.reorder_encoder_out(joined, torch.tensor(order))
        state, steps = {}, []
        for step in range(targets.size(1)):
            steps.append(model.decoder(targets[:, : step + 1], encoder_out=encoder_out, incremental_state=state)[0])
        torch.testing.assert_close(torch.cat(steps, dim=1), logits(model, sources[order], targets), atol=2e-5, rtol=0)


@TABLE
def test_what_fairseq_does_before_it_translates_changes_nothing(options):
    """make_generation_fast_ lets the decoder take steps on plain tensors: the same hypotheses."""
    model, fast = build_sret(**options), build_sret(**options)
    fast.make_generation_fast_()
    batch = pad([source(9, seed=1), source(3, seed=2)], left=True)
    for hypotheses, expected in zip(generate(fast, batch), generate(model, batch)):
        assert hypotheses[0]["tokens"].tolist() == expected[0]["tokens"].tolist()
        torch.testing.assert_close(hypotheses[0]["score"], expected[0]["score"], atol=1e-5, rtol=0)


CHANGES = {
    "load_state_dict": lambda parameter, new: None,  # the model's, below
    "in place": lambda parameter, new: parameter.copy_(new),
    "by data": lambda parameter, new: parameter.data.copy_(new),
    "another tensor": lambda parameter, new: setattr(parameter, "data", new.clone()),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_new_weights_after_preparation_are_used(change):
    """A prepared model, as a hub gives it, that has translated gets other weights: nothing of the old ones stays."""
    prepared, other = build_sret(), build_sret(seed=1)
    prepared.make_generation_fast_()
    batch = pad([source(9, seed=1), source(3, seed=2)], left=True)
    generate(prepared, batch)
    with torch.no_grad():
        for parameter, new in zip(prepared.parameters(), other.parameters()):
            change(parameter, new)
    if change is CHANGES["load_state_dict"]:
        prepared.load_state_dict(other.state_dict())
    for hypotheses, expected in zip(generate(prepared, batch), generate(other, batch)):
        assert hypotheses[0]["tokens"].tolist() == expected[0]["tokens"].tolist()
        torch.testing.assert_close(hypotheses[0]["score"], expected[0]["score"], atol=1e-5, rtol=0)


def test_a_model_quantised_by_torch_translates():
    """``quantize_dynamic`` finds every linear layer, and int8 changes the output a little."""
    model = build_sret()
    quantised = torch.ao.quantization.quantize_dynamic(build_sret(), {torch.nn.Linear}, dtype=torch.qint8)
    assert not any(type(module) is torch.nn.Linear for module in quantised.modules())
    batch, targets = source(6)[None], target(5)[None]
    expected, found = logits(model, batch, targets), logits(quantised, batch, targets)
    assert 0 < (found - expected).norm() < 0.1 * expected.norm()
    quantised.make_generation_fast_()
    assert len(generate(quantised, batch)[0]) == 3
    stepwise, _ = decode_stepwise(quantised, batch, targets)
    torch.testing.assert_close(stepwise, found, atol=0.1 * float(found.abs().max()), rtol=0)


def test_gradients_pass_through_incremental_decoding():
    """Decoding step by step with gradients, as training on one's own output does, gives those of the full pass."""
    model = build_sret(dropout=0.0).double()
    batch, targets = source(6)[None], target(5)[None]
    wanted = torch.autograd.grad(logits(model, batch, targets).square().sum(), list(model.parameters()))
    stepwise, _ = decode_stepwise(model, batch, targets)
    for gradient, other in zip(torch.autograd.grad(stepwise.square().sum(), list(model.parameters())), wanted):
        torch.testing.assert_close(gradient, other, atol=1e-8, rtol=1e-6)


def test_a_prefix_must_be_decoded_token_by_token():
    """A state that starts in the middle would lack the keys of the tokens before: an error, not another translation."""
    model = build_sret()
    encoder_out = model.encoder(source(5)[None], None)
    with pytest.raises(AssertionError, match="token by token"):
        model.decoder(target(3)[None], encoder_out=encoder_out, incremental_state={})


@TABLE
def test_inference_is_deterministic(options):
    """Invariant 5: two runs agree bit for bit, and draw nothing from torch's generator."""
    model = build_sret(**options)
    sources, targets = pad([source(7), source(5, seed=1)], left=True), pad([target(6), target(3, seed=1)])
    before = torch.get_rng_state()
    first, second = logits(model, sources, targets), logits(model, sources, targets)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, second)


def test_random_slices_differ_in_training_only():
    """Invariant 5: random permutations are drawn anew in training, from torch's generator, and only there."""
    model = build_sret(slice_permutation="random", encoder_slices="3", dropout=0.0)
    sources, targets = source(12)[None], target(5)[None]
    model.train()
    torch.manual_seed(1)
    first, second = logits(model, sources, targets), logits(model, sources, targets)
    torch.manual_seed(1)
    again = logits(model, sources, targets)
    assert torch.equal(first, again)
    assert (first - second).abs().max() > 1e-4
    interleaved = build_sret(slice_permutation="interleave", encoder_slices="3", dropout=0.0)
    assert torch.equal(logits(model.eval(), sources, targets), logits(interleaved, sources, targets))


def test_left_padded_targets_stay_finite():
    """Padding on the left of a target leaves rows of attention with nothing to attend to: no NaN comes of it."""
    model = build_sret()
    targets = pad([target(9), target(4, seed=1)], left=True)
    assert torch.isfinite(logits(model, pad([source(5), source(3)]), targets)).all()


def test_a_source_of_padding_alone_stays_finite():
    """A row without a single token, as dummy batches may hold, yields no NaN."""
    model = build_sret()
    batch = pad([source(5), source(3)])
    batch[1] = PAD
    assert torch.isfinite(logits(model, batch, pad([target(4), target(3)]))).all()


@pytest.mark.parametrize("passes", [1, 2, 3])
def test_every_pass_has_its_own_self_attention_cache(passes):
    """One self-attention cache a block and pass, one cross-attention cache a block, and one table of beams."""
    model = build_sret(decoder_recursions=passes)
    state = {}
    encoder_out = model.encoder(source(5)[None], torch.tensor([5]))
    model.decoder(target(1)[None], encoder_out=encoder_out, incremental_state=state)
    blocks = models.SIZES["decoder_layers"]
    assert len(state) == blocks * (passes + 1) + 1
