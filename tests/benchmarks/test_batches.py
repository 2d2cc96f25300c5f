"""Synthetic batches."""

import numpy as np
import torch

from benchmarks import batches
from benchmarks.models import dictionary

PAD, EOS = dictionary().pad(), dictionary().eos()


def test_lengths_resemble_a_text():
    """A mean of about 25 tokens, long and short sentences, and translations about as long as their sources."""
    source, target = batches.lengths(np.random.default_rng(0), 20_000).T
    assert abs(source.mean() - batches.MEAN) < 1
    assert source.min() < 8 and source.max() > 80
    assert np.corrcoef(source, target)[0, 1] > 0.9


def test_training_batches_are_what_fairseq_makes():
    """Full but not over-full, sources padded left and targets right, and the input is the target moved on by one."""
    made = batches.training_batches(max_tokens=600, count=6)
    assert len(made) == 6
    assert len({batch["net_input"]["src_tokens"].size(1) for batch in made}) > 1
    for batch in made:
        source, target = batch["net_input"]["src_tokens"], batch["target"]
        assert 300 < max(source.numel(), target.numel()) <= 600
        assert source[:, -1].eq(EOS).all() and target[:, 0].ne(PAD).all()
        assert batch["ntokens"] == int(target.ne(PAD).sum())
        previous = batch["net_input"]["prev_output_tokens"]
        moved = target[:, :-1].masked_fill(target[:, :-1].eq(EOS), PAD)
        assert previous[:, 0].eq(EOS).all() and previous[:, 1:].equal(moved)


def test_batches_are_the_same_every_time():
    """Both systems, and both processes of the benchmark of memory, see the same tokens."""
    first, second = (batches.training_batches(max_tokens=300, count=2)[1]["target"] for _ in range(2))
    assert first.equal(second)


def test_sources():
    """Sentences of one length have no padding; others are padded left, and their lengths are told."""
    even = batches.sources(3, "cpu", length=9)
    assert even["src_tokens"].shape == (3, 9) and even["src_tokens"].ne(PAD).all()
    uneven = batches.sources(5, "cpu")
    assert uneven["src_lengths"].equal(uneven["src_tokens"].ne(PAD).sum(dim=1))
    assert uneven["src_tokens"][:, -1].eq(EOS).all() and uneven["src_tokens"].eq(PAD).any()
    assert torch.equal(uneven["src_tokens"], batches.sources(5, "cpu")["src_tokens"])
