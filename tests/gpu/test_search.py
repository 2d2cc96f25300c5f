"""Beam search and TorchScript on the device: the hypotheses that the CPU finds."""

import copy
from typing import List

import pytest
import torch

from support.decoding import SOURCES, Hypothesis, assert_scored_by_full_pass, make_generator, search, words_of
from support.models import COMBINATIONS, lengths, logits
from support.wide import BATCHES, build_wide

# A score is a mean of some 10 logarithms of probabilities of about 4: some roundings of float32 on both devices.
SCORE = 2e-5


def on_cpu(found: List[List[Hypothesis]]) -> List[List[Hypothesis]]:
    """The hypotheses with all their tensors on the CPU."""
    return [
        [{name: value.cpu() for name, value in one.items() if torch.is_tensor(value)} for one in each] for each in found
    ]


def assert_same(found: List[List[Hypothesis]], expected: List[List[Hypothesis]]) -> None:
    """The same words with the same scores."""
    assert words_of(found) == words_of(expected)
    for mine, theirs in zip(found, expected):
        for one, other in zip(mine, theirs):
            torch.testing.assert_close(one["positional_scores"].cpu(), other["positional_scores"], atol=SCORE, rtol=0)


@pytest.mark.parametrize("name", COMBINATIONS)
def test_as_on_the_cpu(name, device):
    """Words and scores of every hypothesis are those that the CPU finds, and those of a full pass there; in
    half precision every score is finite."""
    model = build_wide(name)
    moved = copy.deepcopy(model).to(device)
    found = search([moved], SOURCES.to(device))
    assert {one["tokens"].device.type for each in found for one in each} == {device}
    assert_same(found, search([model]))
    assert_scored_by_full_pass([model], SOURCES, on_cpu(found))
    for dtype in (torch.bfloat16, torch.float16):
        half = search([moved.to(dtype)], SOURCES.to(device))
        assert all(one["positional_scores"].isfinite().all() for each in half for one in each)


def test_alone_and_in_a_batch(device):
    """A translation does not depend on its batch mates or on padding."""
    model = build_wide().to(device)
    together = search([model], SOURCES.to(device))
    alone = [
        search([model], tokens[-int(size) :][None].to(device))[0] for tokens, size in zip(SOURCES, lengths(SOURCES))
    ]
    assert_same(together, on_cpu(alone))


@pytest.mark.parametrize("name", ["defaults", "decoder-strides"])
def test_scripted(name, device):
    """A scripted model and a scripted search, called thrice, so that the compiler has optimised for what it saw."""
    model = build_wide(name).to(device)
    script, generator = torch.jit.script(model), torch.jit.script(make_generator([model]))
    sample = {"net_input": {"src_tokens": SOURCES.to(device), "src_lengths": lengths(SOURCES).to(device)}}
    expected = on_cpu(search([model], SOURCES.to(device)))
    for _ in range(3):
        for sources, targets in BATCHES:
            inputs = (sources.to(device), targets.to(device))
            torch.testing.assert_close(logits(script, *inputs), logits(model, *inputs), atol=1e-5, rtol=0)
        assert_same(generator(sample), expected)
