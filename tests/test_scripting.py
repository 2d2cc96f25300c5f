"""Invariant 10: scripted models and scripted beam search equal eager ones, also after saving and loading."""

import io
from typing import Dict

import pytest
import torch
from fairseq import search as strategies
from fairseq.sequence_generator import SequenceGenerator

from support.decoding import MAX_LEN, SOURCES, TASK, assert_scored_by_full_pass, make_generator, search, words_of
from support.models import COMBINATIONS, build_fairseq, build_sret, lengths, logits, pad, source, target

TARGETS = pad([target(9), target(4, seed=1), target(6, seed=2)])
SAMPLE = {"net_input": {"src_tokens": SOURCES, "src_lengths": lengths(SOURCES)}}

# Between them they go through every branch that is decided when a model is scripted.
SCRIPTED: Dict[str, dict] = {
    "defaults": {},
    "everything off": {**COMBINATIONS["plain"], "no_cross_attention": True, "no_token_positional_embeddings": True},
    "post-norm, loops back and forth, a coefficient a channel": {
        "encoder_normalize_before": False,
        "decoder_normalize_before": False,
        **COMBINATIONS["cycle-reverse"],
        **COMBINATIONS["per-pass-channel"],
        "encoder_learned_pos": True,
        "decoder_learned_pos": True,
        "checkpoint_activations": True,
    },
    "decoder slices, scaled, one coefficient of two": {
        **COMBINATIONS["decoder-strides"],
        **COMBINATIONS["random-slices"],
        "depth_scaled_residuals": True,
        "residual_coefficients": "residual",
        "no_scale_embedding": True,
        "layernorm_embedding": True,
    },
    "other numbers of passes than trained": {
        "encoder_recursions": 1,
        "encoder_trained_recursions": 3,
        "decoder_recursions": 3,
        "decoder_trained_recursions": 2,
        "allow_untrained_passes": True,
        "residual_coefficients": "identity",
    },
}


def save_and_load(scripted):
    """What torch.jit.load makes of what torch.jit.save wrote."""
    buffer = io.BytesIO()
    torch.jit.save(scripted, buffer)
    buffer.seek(0)
    return torch.jit.load(buffer)


@pytest.mark.parametrize("options", SCRIPTED.values(), ids=SCRIPTED)
def test_scripted_model(options):
    """The logits agree, with padding and for other lengths than the first call had."""
    model = build_sret(**options)
    scripted = save_and_load(torch.jit.script(model))
    for sources, targets in ((SOURCES, TARGETS), (source(2)[None], target(3)[None]), (SOURCES[:1], TARGETS[:1])):
        eager = logits(model, sources, targets)
        torch.testing.assert_close(logits(scripted, sources, targets), eager, atol=1e-5, rtol=0)


def test_scripted_model_in_training_mode():
    """A model scripted while it trains, without dropout, gives the eager logits and gradients."""
    model = build_sret(dropout=0.0).train()
    scripted = torch.jit.script(model)
    gradients = []
    for one in (model, scripted):
        model.zero_grad()
        logits(one, SOURCES, TARGETS).square().mean().backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters()])
    for mine, theirs in zip(*gradients):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("other", ["another of ours", "fairseq's"])
def test_scripted_search(other):
    """fairseq's search, scripted around two models, saved and loaded, finds what the eager one finds."""
    models = [build_sret(), build_fairseq(seed=1)]
    if other == "another of ours":
        models[1] = build_sret(seed=1, **SCRIPTED["decoder slices, scaled, one coefficient of two"])
    found = save_and_load(torch.jit.script(make_generator(models)))(SAMPLE)
    assert words_of(found) == words_of(search(models))
    assert_scored_by_full_pass(models, SOURCES, found)


STRATEGIES = {
    "diverse beams": lambda: strategies.DiverseBeamSearch(TASK.target_dictionary, num_groups=2, diversity_strength=0.5),
    "sampling": lambda: strategies.Sampling(TASK.target_dictionary, sampling_topk=5),
}


@pytest.mark.slow
@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES)
def test_scripted_strategies(strategy):
    """Diverse beams and sampling, scripted, saved and loaded, find what they find eagerly."""
    found = []
    for prepare in (lambda generator: generator, lambda generator: save_and_load(torch.jit.script(generator))):
        settings = {"beam_size": 4, "max_len_b": MAX_LEN, "search_strategy": strategy()}
        generator = prepare(SequenceGenerator([build_sret()], TASK.target_dictionary, **settings))
        torch.manual_seed(1)
        found.append(words_of(generator(SAMPLE)))
    assert found[0] == found[1]
