"""Invariant 10: scripted models and scripted beam search equal eager ones, also after saving and loading."""

import io

import pytest
import torch
from fairseq.sequence_generator import SequenceGenerator

from support.models import COMBINATIONS, Task, build_sret, generate, lengths, logits, pad, source, target

SOURCES = pad([source(7), source(11, seed=1), source(1, seed=2)], left=True)
TARGETS = pad([target(9), target(4, seed=1), target(6, seed=2)])


def save_and_load(scripted):
    buffer = io.BytesIO()
    torch.jit.save(scripted, buffer)
    buffer.seek(0)
    return torch.jit.load(buffer)


@pytest.mark.parametrize("options", COMBINATIONS.values(), ids=COMBINATIONS)
def test_scripted_model(options):
    """The logits agree, with padding and for other lengths than the first call had."""
    model = build_sret(**options)
    scripted = save_and_load(torch.jit.script(model))
    for sources, targets in ((SOURCES, TARGETS), (source(2)[None], target(3)[None]), (SOURCES[:1], TARGETS[:1])):
        eager = logits(model, sources, targets)
        torch.testing.assert_close(logits(scripted, sources, targets), eager, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["defaults", "post-norm", "three-passes", "cycle-reverse", "random-slices"])
def test_scripted_beam_search(name):
    """fairseq's SequenceGenerator, scripted around the model, finds the same hypotheses."""
    model = build_sret(**COMBINATIONS[name])
    generator = SequenceGenerator([model], Task().target_dictionary, beam_size=3, max_len_b=12)
    scripted = save_and_load(torch.jit.script(generator))
    sample = {"net_input": {"src_tokens": SOURCES, "src_lengths": lengths(SOURCES)}}
    for hypotheses, expected in zip(scripted(sample), generate(model, SOURCES)):
        for one, other in zip(hypotheses, expected):
            assert one["tokens"].tolist() == other["tokens"].tolist()
            torch.testing.assert_close(one["score"], other["score"], atol=1e-5, rtol=0)
