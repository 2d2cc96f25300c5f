"""Searches other than beam search: sampling, diverse beams, forced prefixes, lexical constraints."""

import pytest
import torch
from fairseq.token_generation_constraints import pack_constraints

from support.decoding import (
    MAX_LEN,
    SOURCES,
    assert_scored_by_full_pass,
    distributions,
    reference,
    search,
    word_scores,
    words_of,
)
from support.models import COMBINATIONS, EOS, PAD, build_sret, pad

NAMES = ("defaults", "three-passes", "cycle-reverse", "post-norm")
MODELS = pytest.mark.parametrize("model", [build_sret(**COMBINATIONS[name]) for name in NAMES], ids=NAMES)


def sample(model, seed, **settings):
    torch.manual_seed(seed)
    return search([model], sampling=True, beam=12, **settings)


def choices(model, tokens, words):
    """What sampling may draw from before each word (T, V): never padding, no end first, the end alone at last."""
    scores = distributions([model], tokens, words)
    scores[:, PAD] = scores[0, EOS] = -torch.inf
    return scores[:MAX_LEN]


def most_likely(scores, count):
    """The words of the so many highest probabilities of each row."""
    return [set(row.topk(count).indices.tolist()) for row in scores]


def nucleus(scores, mass):
    """The fewest words of each row whose probability exceeds the mass."""
    allowed = []
    for row in scores.exp():
        ordered, words = row.sort(descending=True)
        count = int((ordered.cumsum(0) < mass).sum()) + 1
        allowed.append(set(words[:count].tolist()))
    return allowed


@MODELS
@pytest.mark.parametrize(
    "settings, allowed",
    [
        ({"sampling_topk": 3}, lambda scores: most_likely(scores, 3)),
        ({"sampling_topp": 0.5}, lambda scores: nucleus(scores, 0.5)),
    ],
    ids=["top-k", "top-p"],
)
def test_sampling_stays_within_the_likely_words(model, settings, allowed):
    """--sampling-topk and --sampling-topp: words are among those that the full pass allows, and several are drawn."""
    found = sample(model, seed=1, **settings)
    assert_scored_by_full_pass([model], SOURCES, found)
    for tokens, hypotheses in zip(SOURCES, found):
        assert len({tuple(one["tokens"].tolist()) for one in hypotheses}) > 1
        for one in hypotheses:
            may = allowed(choices(model, tokens, one["tokens"]))
            assert all(word in words for word, words in zip(one["tokens"].tolist(), may))


@MODELS
def test_plain_sampling_leaves_the_likely_words(model):
    """--sampling alone draws from the whole vocabulary, and is scored by the full pass."""
    found = sample(model, seed=1)
    assert_scored_by_full_pass([model], SOURCES, found)
    outside = 0
    for tokens, hypotheses in zip(SOURCES, found):
        for one in hypotheses:
            may = most_likely(choices(model, tokens, one["tokens"]), 3)
            outside += sum(word not in words for word, words in zip(one["tokens"].tolist(), may))
    assert outside > 0


@pytest.mark.parametrize("settings", [{}, {"sampling_topk": 5}, {"sampling_topp": 0.6}], ids=["all", "top-k", "top-p"])
def test_sampling_repeats_under_a_seed(settings):
    """The same seed draws the same words, another seed others."""
    model = build_sret()
    first, again, other = (words_of(sample(model, seed, **settings)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def penalties(model, found):
    """How much of each word's full-pass log-probability a search took away, one row a hypothesis."""
    for tokens, hypotheses in zip(SOURCES, found):
        for one in hypotheses:
            yield word_scores([model], tokens, one["tokens"]) - one["positional_scores"]


@MODELS
def test_diverse_beam_groups(model):
    """--diverse-beam-groups: a word loses a multiple of the strength, once for each time that a group had it before."""
    found = search([model], beam=6, diverse_beam_groups=3, diverse_beam_strength=0.5)
    counts = torch.cat(list(penalties(model, found))) / 0.5
    torch.testing.assert_close(counts, counts.round(), atol=1e-3, rtol=0)
    assert counts.min() > -0.1 and counts.max() > 0.9


@MODELS
def test_diverse_beam_groups_differ_by_their_strength(model):
    """Groups of one, held apart by a great strength, start with as many words; with no strength all are the same."""
    settings = {"beam": 4, "diverse_beam_groups": 4}
    apart = words_of(search([model], diverse_beam_strength=50, **settings))
    together = words_of(search([model], diverse_beam_strength=0.0, **settings))
    greedy = words_of(search([model], beam=1))
    for far, near, (best,) in zip(apart, together, greedy):
        assert len({words[0] for words in far}) == 4
        assert near == [best] * 4


@MODELS
def test_diversity_rate(model):
    """--diversity-rate: a word loses a multiple of the rate, by its rank among the words behind one prefix."""
    rate = 0.25
    ranks = torch.cat([row[1:] for row in penalties(model, search([model], beam=6, diversity_rate=rate))]) / rate
    torch.testing.assert_close(ranks, ranks.round(), atol=1e-3, rtol=0)
    assert ranks.min() > 0.9 and ranks.max() > 1.9


def test_only_one_kind_of_search():
    """Two kinds of search at once are refused."""
    with pytest.raises(ValueError, match="mutually exclusive"):
        search([build_sret()], diverse_beam_groups=4, match_source_len=True)


@MODELS
def test_prefix(model):
    """--prefix-size: hypotheses begin with the reference's words, whose scores are those of teacher forcing."""
    references = [reference(6), reference(4, seed=1), reference(2, seed=2)]
    prefix = pad(references)[:, :3]  # the last reference ends within it
    found = search([model], prefix=prefix)
    assert_scored_by_full_pass([model], SOURCES, found)
    for forced, hypotheses, free in zip(references, words_of(found), words_of(search([model]))):
        assert all(words[:3] == forced[:3].tolist() for words in hypotheses)
        assert any(words[:3] != forced[:3].tolist() for words in free)


CONSTRAINTS = [[[9, 12], [6], [30]], [], [[21, 5], [13]]]  # for each sentence its runs of words


def end_of(words, run, start=0):
    """Where the first such run of words from ``start`` on ends, or None."""
    ends = (first + len(run) for first in range(start, len(words)) if words[first : first + len(run)] == run)
    return next(ends, None)


def holds_in_order(words, runs):
    """Whether the runs come one behind the other."""
    end = 0
    for run in runs:
        end = end_of(words, run, end)
        if end is None:
            return False
    return True


def constrained(model, constraints, order):
    packed = pack_constraints([[torch.tensor(run) for run in runs] for runs in constraints])
    found = search([model], given=packed, constraints=order, beam=8, max_len_b=14)
    assert_scored_by_full_pass([model], SOURCES, found)
    return [hypotheses[0] for hypotheses in words_of(found)]


@MODELS
def test_unordered_constraints(model):
    """--constraints unordered: every constraint stands in the output; the scores are those of the full pass."""
    for runs, words in zip(CONSTRAINTS, constrained(model, CONSTRAINTS, "unordered")):
        assert all(end_of(words, run) for run in runs)


@MODELS
def test_ordered_constraints(model):
    """--constraints ordered: the constraints stand in the output in the order given, whichever it is."""
    backwards = [runs[::-1] for runs in CONSTRAINTS]
    for constraints in (CONSTRAINTS, backwards):
        for runs, words in zip(constraints, constrained(model, constraints, "ordered")):
            assert holds_in_order(words, runs)


def test_without_constraints_the_words_do_not_come():
    """What the test of constraints asks for does not come by itself."""
    for name in NAMES:
        free = words_of(search([build_sret(**COMBINATIONS[name])], beam=8, max_len_b=14))
        assert not all(end_of(free[0][0], run) for run in CONSTRAINTS[0])
        assert not all(end_of(free[2][0], run) for run in CONSTRAINTS[2])
