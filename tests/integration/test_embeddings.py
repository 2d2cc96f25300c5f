"""Embeddings and heads: all that fairseq's transformer can tie, learn, leave out or load, sret_transformer can."""

import pytest
import torch

from sret_fairseq.errors import OptionError
from support import models
from support.models import (
    COMBINATIONS,
    PAD,
    build_fairseq,
    build_sret,
    copy_fairseq_weights,
    lengths,
    not_on_python_3_10,
    pad,
    source,
    target,
)

SOURCES = pad([source(7), source(11, seed=1), source(2, seed=2)], left=True)
TARGETS = pad([target(9), target(4, seed=1), target(6, seed=2)])
EQUAL_WIDTHS = {"decoder_embed_dim": 16}

HEADS = {
    "separate": {},
    "input and output tied": {"share_decoder_input_output_embed": True},
    "all tied": {"share_all_embeddings": True, **EQUAL_WIDTHS},
    "vocabularies merged": pytest.param({"merge_src_tgt_embed": True, **EQUAL_WIDTHS}, marks=not_on_python_3_10),
    "learnt positions": {"encoder_learned_pos": True, "decoder_learned_pos": True},
    "no positions": {"no_token_positional_embeddings": True},
    "layernorm": {"layernorm_embedding": True},
    "no scale": {"no_scale_embedding": True},
    "no cross-attention": {"no_cross_attention": True},
    "wider decoder input": {"decoder_input_dim": 32},
    "narrower decoder output": {"decoder_output_dim": 12},
    "adaptive softmax": {"adaptive_softmax_cutoff": "8,20", "adaptive_softmax_factor": 2},
}
TABLE = pytest.mark.parametrize("options", HEADS.values(), ids=HEADS)


@pytest.fixture(autouse=True)
def joined_dictionary(monkeypatch, request):
    """Both sides have one dictionary where everything is tied, as --joined-dictionary makes it."""
    if "all tied" in request.node.name:
        monkeypatch.setattr(models, "TARGET_WORDS", models.SOURCE_WORDS)


def targets_for(options):
    """The target batch, within the vocabulary of the test."""
    return TARGETS.clamp(max=3 + models.SOURCE_WORDS) if options.get("share_all_embeddings") else TARGETS


def log_probabilities(model, targets):
    """(B, T, V), from logits or an adaptive softmax."""
    return model.get_normalized_probs(model(SOURCES, lengths(SOURCES), targets), log_probs=True)


@TABLE
def test_equals_fairseq(options):
    """With all options of recursion off and copied weights the output distribution is that of fairseq's transformer."""
    reference = build_fairseq(seed=1, **options)
    post_norm = {"encoder_normalize_before": False, "decoder_normalize_before": False}  # fairseq's default
    model = build_sret(seed=2, **COMBINATIONS["plain"], **post_norm, **options)
    copy_fairseq_weights(model, reference)
    targets = targets_for(options)
    real = targets.ne(PAD)
    ours, theirs = log_probabilities(model, targets)[real], log_probabilities(reference, targets)[real]
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
    assert (theirs[0] - theirs[1]).abs().max() > 1e-3  # not equal because constant


@TABLE
def test_incremental_equals_full(options):
    """Step by step, with recursion on, the decoder gives what it gives at once."""
    model = build_sret(**options)
    targets = targets_for(options)
    encoder_out = model.encoder(SOURCES, lengths(SOURCES))
    state = {}
    steps = [
        model.decoder(targets[:, : step + 1], encoder_out=encoder_out, incremental_state=state)[0]
        for step in range(targets.size(1))
    ]
    real = targets.ne(PAD)
    stepwise = model.get_normalized_probs((torch.cat(steps, dim=1), None), log_probs=True)
    torch.testing.assert_close(stepwise[real], log_probabilities(model, targets)[real], atol=2e-5, rtol=0)


@TABLE
def test_ties(options):
    """As many embedding tables exist as the options say."""
    model = build_sret(**options)
    tables = {model.encoder.embed_tokens.weight.data_ptr(), model.decoder.embed_tokens.weight.data_ptr()}
    if model.decoder.output_projection is not None:
        tables.add(model.decoder.output_projection.weight.data_ptr())
    expected = 3
    if options.get("share_all_embeddings") or options.get("merge_src_tgt_embed"):
        expected = 1
    elif options.get("share_decoder_input_output_embed") or "adaptive_softmax_cutoff" in options:
        expected = 2
    assert len(tables) == expected


def test_embeddings_are_loaded_from_files(tmp_path):
    """--encoder-embed-path and --decoder-embed-path fill in the words that they name, and those only."""
    words = {"word3": 0.5, "word7": -0.25}
    for side, width in (("encoder", 16), ("decoder", 24)):
        lines = [f"{word} " + " ".join([str(value)] * width) for word, value in words.items()]
        (tmp_path / side).write_text(f"{len(words)} {width}\n" + "\n".join(lines) + "\n")
    paths = {f"{side}_embed_path": str(tmp_path / side) for side in ("encoder", "decoder")}
    model, without = build_sret(**paths), build_sret()
    for side in ("encoder", "decoder"):
        table = getattr(model, side).embed_tokens.weight
        rows = {4 + int(word[4:]): value for word, value in words.items()}
        for row in range(len(table)):
            same = getattr(without, side).embed_tokens.weight[row]
            expected = torch.full_like(same, rows[row]) if row in rows else same
            torch.testing.assert_close(table[row], expected, atol=0, rtol=0)


@pytest.mark.parametrize("build", [build_sret, build_fairseq])
def test_refused_as_in_fairseq(build):
    """What fairseq's transformer cannot tie cannot be tied here: all embeddings, with two dictionaries."""
    with pytest.raises(ValueError, match="joined dictionary"):
        build(share_all_embeddings=True, decoder_embed_dim=16)


@pytest.mark.parametrize(
    "text, word",
    [
        (None, "No such file"),
        ("", "it is empty"),
        ("1 16\nword3 a b\n", "could not convert string to float"),
        ("1 2\nword3 0.5 0.5\n", "expanded size"),
    ],
    ids=["missing", "empty", "words for numbers", "another width"],
)
def test_unreadable_embeddings_are_refused(text, word, tmp_path):
    """The sentence names the file, the options and the width."""
    path = tmp_path / "vectors"
    if text is not None:
        path.write_text(text)
    with pytest.raises(OptionError) as refusal:
        build_sret(encoder_embed_path=str(path))
    sentence = str(refusal.value)
    assert str(path) in sentence and "--encoder-embed-path" in sentence and "width 16" in sentence and word in sentence
