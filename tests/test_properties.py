"""The invariants over options, lengths and paddings that hypothesis draws, beyond the table of models.COMBINATIONS."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as draw

from support.models import PAD, build_sret, generate, lengths, logits, pad, source, target

COUNTS = draw.integers(1, 4)


@draw.composite
def slices(draw_one, passes):
    """``G[,G2,...]`` for so many passes or fewer."""
    numbers = draw_one(draw.lists(draw.integers(1, 6), min_size=1, max_size=passes))
    return ",".join(map(str, numbers))


@draw.composite
def options(draw_one):
    """Any valid set of this project's options, over small stacks."""
    chosen = {
        "nll_ratio": draw_one(draw.sampled_from([0.0, 0.25, 1.0])),
        "residual_coefficients": draw_one(draw.sampled_from(["both", "residual", "identity", "none"])),
        "residual_coefficients_per_pass": draw_one(draw.booleans()),
        "residual_coefficient_size": draw_one(draw.sampled_from(["scalar", "channel"])),
        "slice_permutation": draw_one(draw.sampled_from(["interleave", "random", "none"])),
        "decoder_chunk_size": draw_one(draw.integers(1, 6)),
        "depth_scaled_residuals": draw_one(draw.booleans()),
    }
    for side in ("encoder", "decoder"):
        span, groups = draw_one(draw.integers(1, 2)), draw_one(draw.integers(1, 2))
        passes = draw_one(COUNTS)
        chosen[f"{side}_recursions"] = passes
        chosen[f"{side}_recursion_span"] = span
        chosen[f"{side}_layers"] = span * groups
        chosen[f"{side}_normalize_before"] = draw_one(draw.booleans())
        chosen[f"{side}_slices"] = draw_one(slices(passes))
    loops = max(chosen["encoder_recursion_span"], chosen["decoder_recursion_span"]) > 1
    chosen["recursion_reverse"] = loops and draw_one(draw.booleans())
    return chosen


# Lengths of the sentences of a batch, and how much more padding than needed there is.
BATCHES = draw.tuples(draw.lists(draw.integers(1, 14), min_size=1, max_size=4), draw.integers(0, 5))

thorough = settings(max_examples=60, deadline=None, derandomize=True)


def batch_of(make, batch, left):
    sizes, extra = batch
    return pad([make(size, seed=seed) for seed, size in enumerate(sizes)], left=left, length=max(sizes) + extra)


@thorough
@given(options(), BATCHES, draw.integers(1, 14), draw.booleans())
def test_incremental_decoding_equals_the_full_pass(chosen, batch, steps, left):
    """Invariant 3, step by step over targets of any length, and no value that is not finite."""
    model = build_sret(**chosen)
    sources = batch_of(source, batch, left)
    targets = torch.stack([target(steps, seed=row) for row in range(len(sources))])
    full = logits(model, sources, targets)
    encoder_out = model.encoder(sources, lengths(sources))
    state = {}
    for step in range(steps):
        out = model.decoder(targets[:, : step + 1], encoder_out=encoder_out, incremental_state=state)[0]
        torch.testing.assert_close(out[:, 0], full[:, step], atol=3e-5, rtol=0)


@thorough
@given(options(), BATCHES, BATCHES, draw.booleans(), draw.booleans())
def test_a_pair_has_the_same_logits_in_any_batch(chosen, source_batch, target_batch, left, left_target):
    """Invariant 4, for the encoder and the teacher-forced decoder, with padding on either side of either."""
    model = build_sret(**chosen)
    rows = min(len(source_batch[0]), len(target_batch[0]))
    source_sizes, target_sizes = source_batch[0][:rows], target_batch[0][:rows]
    sources = batch_of(source, (source_sizes, source_batch[1]), left)
    targets = batch_of(target, (target_sizes, target_batch[1]), left_target)
    together = logits(model, sources, targets)
    for row in range(rows):
        alone = logits(model, sources[row][sources[row].ne(PAD)][None], targets[row][targets[row].ne(PAD)][None])
        torch.testing.assert_close(together[row][targets[row].ne(PAD)], alone[0], atol=3e-5, rtol=0)


@thorough
@given(options(), draw.integers(1, 14), draw.integers(2, 14), draw.data())
def test_no_logit_depends_on_a_later_token(chosen, source_size, target_size, data):
    """Invariant 7: another word at position t changes nothing before t."""
    model = build_sret(**chosen)
    sources, targets = source(source_size)[None], target(target_size)[None]
    place = data.draw(draw.integers(1, target_size - 1))
    changed = targets.clone()
    changed[0, place] = 4 + (changed[0, place] - 3) % 30
    before, after = logits(model, sources, targets), logits(model, sources, changed)
    torch.testing.assert_close(after[:, :place], before[:, :place], atol=2e-6, rtol=0)
    assert not torch.equal(after[:, place], before[:, place])


@settings(max_examples=20, deadline=None, derandomize=True)
@given(options(), draw.lists(draw.integers(1, 12), min_size=2, max_size=3))
def test_a_translation_does_not_depend_on_the_batch(chosen, sizes):
    """Invariant 4 through beam search: words and scores of each sentence are those that it has alone."""
    model = build_sret(**chosen)
    sentences = [source(size, seed=seed) for seed, size in enumerate(sizes)]
    together = generate(model, pad(sentences, left=True))
    for tokens, hypotheses in zip(sentences, together):
        alone = generate(model, tokens[None])[0]
        assert hypotheses[0]["tokens"].tolist() == alone[0]["tokens"].tolist()
        torch.testing.assert_close(hypotheses[0]["score"], alone[0]["score"], atol=3e-5, rtol=0)
