"""scripts/convert_transformer_checkpoint.py: what a trained transformer becomes."""

import argparse
import os
import shlex

import pytest
import torch
from fairseq.options import get_training_parser, parse_args_and_arch

from sret_fairseq.model import SretTransformerModel
from sret_fairseq.options import names
from support.commands import fairseq
from support.models import PAD, SIZES, lengths, pad, source, target
from support.training import weights_of
from support.warm_start import LAYERS, PRE_NORM, save, task_for, transformer

ONE_PASS = ("--encoder-recursions", 1, "--decoder-recursions", 1)
NO_NLL = ("--nll-ratio", 0)
SOURCES = {
    "post-norm": {},
    "pre-norm": PRE_NORM,
    "mixed-norm": {"encoder_normalize_before": True, "layernorm_embedding": True},
    "one-embedding": {"share_all_embeddings": True, "decoder_embed_dim": 16, **PRE_NORM},
    "merged-embedding": {"merge_src_tgt_embed": True, "decoder_embed_dim": 16},
    "shared-output": {"share_decoder_input_output_embed": True, "decoder_learned_pos": True},
    "adaptive-softmax": {"adaptive_softmax_cutoff": "9,20", "encoder_learned_pos": True, **PRE_NORM},
    "no-cross-attention": {"no_cross_attention": True},
}


def rebuild(checkpoint, **options) -> SretTransformerModel:
    """The model of a converted checkpoint, as fairseq builds it."""
    model = SretTransformerModel.build_model(checkpoint["cfg"]["model"], task_for(options))
    model.load_state_dict(checkpoint["model"], strict=True)
    return model.eval()


def log_probabilities(model) -> torch.Tensor:
    """What a model says of the words of a padded batch, (words, V)."""
    sources, targets = pad([source(6), source(9, seed=1)], left=True), pad([target(5), target(3, seed=1)])
    targets = targets.clamp(max=30)  # in the source dictionary too, which may be the only one
    return model.get_normalized_probs(model(sources, lengths(sources), targets), log_probs=True)[targets.ne(PAD)]


@pytest.mark.parametrize("ratio", [0, 1.5])
@pytest.mark.parametrize("options", SOURCES.values(), ids=SOURCES)
def test_one_pass_equals_the_original(convert, tmp_path, options, ratio):
    """Every tensor lands in its place, and the NLLs change nothing."""
    original, path = transformer(tmp_path, **options)
    model = rebuild(convert(path, *ONE_PASS, "--nll-ratio", ratio), **options)
    assert torch.allclose(log_probabilities(model), log_probabilities(original), atol=1e-5, rtol=0)


def test_one_embedding_is_written_once(convert, tmp_path):
    """Source, target and output share their numbers, in the file too."""
    _, path = transformer(tmp_path, **SOURCES["one-embedding"])
    tensors = convert(path)["model"]
    tables = [*(f"{side}.embed_tokens.weight" for side in ("encoder", "decoder")), "decoder.output_projection.weight"]
    assert len({tensors[name].data_ptr() for name in tables}) == 1


# The layers that each block stands for, in the order of its passes.
REPLACED = {
    "sequence": ((), [[0, 1], [2, 3]], [[0, 1], [2, 3], [4, 5]]),
    "cycle": (
        ("--encoder-recursion-span", 2, "--decoder-recursion-span", 3),
        [[0, 2], [1, 3]],
        [[0, 3], [1, 4], [2, 5]],
    ),
    "two-groups": (
        ("--encoder-recursions", 1, "--encoder-recursion-span", 2, "--decoder-recursions", 3),
        [[0], [1], [2], [3]],
        [[0, 1, 2], [3, 4, 5]],
    ),
    "reverse": (
        ("--encoder-recursion-span", 2, "--decoder-recursion-span", 3, "--recursion-reverse"),
        [[0, 3], [1, 2]],
        [[0, 5], [1, 4], [2, 3]],
    ),
}


@pytest.mark.parametrize("options", [{}, PRE_NORM], ids=["post-norm", "pre-norm"])
@pytest.mark.parametrize("choice", ["first", "average"])
@pytest.mark.parametrize("words, encoder, decoder", REPLACED.values(), ids=REPLACED)
def test_layers_that_are_equal_become_one_block(convert, tmp_path, options, choice, words, encoder, decoder):
    """Where the layers that a block stands for have the same weights, the function stays the same."""
    original, _ = transformer(tmp_path, **options)
    for side, blocks in ((original.encoder, encoder), (original.decoder, decoder)):
        for first, *others in blocks:
            for layer in others:
                side.layers[layer].load_state_dict(side.layers[first].state_dict())
    args = argparse.Namespace(arch="transformer", **{**SIZES, **LAYERS, **options})
    model = rebuild(convert(save(tmp_path / "tied.pt", original, args), "--layers", choice, *words))
    assert [len(side.layers) * len(side.layers[0].blocks) for side in (model.encoder, model.decoder)] == [
        len(encoder),
        len(decoder),
    ]
    assert torch.allclose(log_probabilities(model), log_probabilities(original), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "span, choice, expected",
    [
        (1, "first", [[0], [2], [4]]),
        (1, "average", [[0, 1], [2, 3], [4, 5]]),
        (1, "spread", [[0], [2], [5]]),
        (3, "first", [[0], [1], [2]]),
        (3, "average", [[0, 3], [1, 4], [2, 5]]),
        (3, "spread", [[0], [2], [5]]),
    ],
)
def test_weights_of_a_block_by_hand(convert, tmp_path, span, choice, expected):
    """One plain and one fused tensor of each decoder block, against the old layers' by name."""
    original, path = transformer(tmp_path)
    tensors = convert(path, "--layers", choice, "--decoder-recursion-span", span)["model"]
    old = original.state_dict()
    for block, layers in enumerate(expected):
        prefix = f"decoder.layers.{block // span}.blocks.{block % span}"
        plain = sum(old[f"decoder.layers.{layer}.fc1.weight"] for layer in layers) / len(layers)
        assert torch.allclose(tensors[f"{prefix}.ffn.fc1.weight"], plain, atol=1e-7)
        keys = sum(old[f"decoder.layers.{layer}.self_attn.k_proj.bias"] for layer in layers) / len(layers)
        assert torch.allclose(tensors[f"{prefix}.self_attn.qkv_proj.bias"].chunk(3)[1], keys, atol=1e-7)


@pytest.mark.parametrize("options, tolerance", [(PRE_NORM, 1e-6), ({}, 1e-5)], ids=["pre-norm", "post-norm"])
def test_nll_starts_as_the_identity_and_learns(convert, tmp_path, options, tolerance):
    """NLLs change nothing at first. Their second layer has a gradient at once, the first from the second step on."""
    _, path = transformer(tmp_path, **options)
    plain = log_probabilities(rebuild(convert(path, *NO_NLL)))
    model = rebuild(convert(path))
    assert torch.allclose(log_probabilities(model), plain, atol=tolerance, rtol=0)

    layers = [(name, tensor) for name, tensor in model.named_parameters() if ".mlp.fc" in name]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for first_layer_learns in (False, True):
        optimizer.zero_grad()
        log_probabilities(model)[..., 7].sum().backward()
        for name, tensor in layers:
            assert bool(tensor.grad.any()) == (first_layer_learns or ".mlp.fc2." in name), name
        optimizer.step()


def test_coefficients_start_at_one(convert, tmp_path):
    """All of them, those of the NLLs and of each pass included."""
    _, path = transformer(tmp_path)
    tensors = convert(path, "--residual-coefficients-per-pass", "--residual-coefficient-size", "channel")["model"]
    coefficients = [tensor for name, tensor in tensors.items() if ".coefficients." in name]
    assert coefficients and not any(tensor.any() for tensor in coefficients)


def test_slices_only_when_asked_for(convert, tmp_path):
    _, path = transformer(tmp_path)
    assert convert(path)["cfg"]["model"].encoder_slices == "1"
    assert convert(path, "--encoder-slices", "3,2")["cfg"]["model"].encoder_slices == "3,2"


def test_checkpoint_is_fresh(convert, tmp_path):
    """No optimizer state, no dictionaries but the user's, the same for the same seed, no other file."""
    _, path = transformer(tmp_path)
    checkpoint = convert(path)
    assert checkpoint["optimizer_history"][-1]["num_updates"] == 0 and "last_optimizer_state" not in checkpoint
    metadata = getattr(checkpoint["model"], "_metadata", {})
    assert not any("dictionaries" in entry for entry in metadata.values())
    again = convert(path)
    assert all(tensor.equal(again["model"][name]) for name, tensor in weights_of(checkpoint["model"]).items())
    other = convert(path, "--seed", 2)
    assert not all(tensor.equal(other["model"][name]) for name, tensor in weights_of(checkpoint["model"]).items())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sret.pt", "transformer.pt"]


def test_old_forms(convert, tmp_path):
    """Options under ``args``, torch's old file format, half precision, fused projections, options that are spent."""
    original, path = transformer(tmp_path)
    state = torch.load(path, weights_only=True)
    state["args"], state["cfg"] = state["cfg"]["model"], None
    state["args"].encoder_embed_path = "/nowhere/vectors.txt"
    state["args"].decoder_layers, state["args"].decoder_layers_to_keep = 9, "1,2,4,5,7,8"
    tensors = state["model"] = {name: tensor.half() for name, tensor in state["model"].items()}
    original.load_state_dict(dict(tensors))
    for prefix in [f"encoder.layers.{layer}.self_attn." for layer in range(4)]:
        for kind in ("weight", "bias"):
            parts = [tensors.pop(f"{prefix}{part}_proj.{kind}") for part in "qkv"]
            tensors[f"{prefix}in_proj_{kind}"] = torch.cat(parts)
    torch.save(state, path, _use_new_zipfile_serialization=False)
    checkpoint = convert(path, *ONE_PASS, *NO_NLL)
    model = rebuild(checkpoint)
    assert {tensor.dtype for tensor in model.state_dict().values()} == {torch.float32}
    assert torch.allclose(log_probabilities(model), log_probabilities(original), atol=1e-5, rtol=0)
    assert checkpoint["cfg"]["model"].encoder_embed_path is None
    assert checkpoint["cfg"]["model"].decoder_layers_to_keep is None


def test_options_of_hydra(convert, tmp_path):
    """They are a dictionary, and what an architecture implies is not among them."""
    original, path = transformer(tmp_path, encoder_attention_heads=2)
    options = {**SIZES, **LAYERS, "_name": "transformer_tiny"}
    del options["encoder_attention_heads"]  # 2 in transformer_tiny, 8 in transformer
    model = rebuild(convert(save(path, original, options), *ONE_PASS))
    assert torch.allclose(log_probabilities(model), log_probabilities(original), atol=1e-5, rtol=0)


def test_report(convert, tmp_path, capsys):
    """A line for each tensor of either model, and the summary."""
    original, path = transformer(tmp_path)
    capsys.readouterr()
    tensors = convert(path, "--layers", "first", *NO_NLL)["model"]
    lines = capsys.readouterr().out.splitlines()
    notes = dict(line.split(": ", 1) for line in lines if not line.startswith(("sret_", "transformer", "Train")))
    assert notes["encoder.layers.1.blocks.0.self_attn.qkv_proj.weight"] == "copied from layer 2, fused q k v"
    assert notes["encoder.layers.3.fc1.bias"] == "dropped"
    assert set(tensors) <= set(notes) <= set(tensors) | set(original.state_dict())
    count = sum(parameter.numel() for parameter in original.parameters())
    assert f"transformer parameters: total {count:,}" in lines
    assert any("3 distinct blocks x 2 passes = virtual depth 6" in line for line in lines)


SMALL = (
    "--encoder-embed-dim 16 --decoder-embed-dim 16 --encoder-ffn-embed-dim 20 --decoder-ffn-embed-dim 28 "
    "--encoder-attention-heads 4 --decoder-attention-heads 2 --encoder-layers 4 --decoder-layers 2"
)


RESETS = ("--reset-optimizer", "--reset-dataloader", "--reset-meters", "--reset-lr-scheduler")


CHANGED = {
    "looped": "--encoder-recursion-span 2 --decoder-recursion-span 3 --recursion-reverse",
    "coefficients": "--residual-coefficients identity --residual-coefficients-per-pass "
    "--residual-coefficient-size channel --depth-scaled-residuals",
    "slices": "--encoder-slices 2,1 --slice-permutation none --decoder-slices 2 --decoder-chunk-size 4",
    "numbers": "--decoder-recursions 3 --nll-ratio 0.25 --no-depth-scaled-residuals",
}


@pytest.mark.parametrize("words", CHANGED.values(), ids=CHANGED)
def test_advice_builds_the_same_model(convert, capsys, tmp_path, words):
    """Of options too that leave no trace in the tensors."""
    _, path = transformer(tmp_path, **PRE_NORM)
    capsys.readouterr()
    built = convert(path, *words.split())["cfg"]["model"]
    advice = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("Train it with: "))
    _, _, *advised = shlex.split(advice.removeprefix("Train it with: "))
    args = parse_args_and_arch(get_training_parser(), ["data-bin", *advised])
    assert {name: getattr(args, name) for name in names()} == {name: getattr(built, name) for name in names()}


def succeed(command, *words) -> str:
    """Run a command of fairseq to its good end; what it says."""
    status, said = fairseq(command, *words)
    assert status == 0, said
    return said


@pytest.mark.parametrize(
    "model, criterion, start",
    [
        ("--share-all-embeddings --encoder-normalize-before", "cross_entropy", ["--finetune-from-model"]),
        ("--adaptive-softmax-cutoff 6,9", "adaptive_loss", [*RESETS, "--restore-file"]),
    ],
    ids=["one-embedding-finetune", "adaptive-softmax-restore"],
)
def test_training_goes_on(convert, capsys, tmp_path, model, criterion, start):
    """Train a transformer, convert it, train on with the options that the script names, translate: by the commands."""
    text, old, converted, new = (tmp_path / name for name in ("text", "old", "sret.pt", "new"))
    text.with_suffix(".xx").write_text("a b c d\ne f\ng h a\n" * 6)
    text.with_suffix(".yy").write_text("D C B A\nF E\nA H G\n" * 6)
    splits = ("--trainpref", text, "--validpref", text, "--testpref", text, "--joined-dictionary")
    succeed("preprocess", "-s", "xx", "-t", "yy", "--destdir", tmp_path / "bin", *splits)
    settings = f"--optimizer adam --lr 0.005 --max-tokens 60 --max-update 5 --num-workers 0 --criterion {criterion}"
    train = (tmp_path / "bin", *settings.split(), "--cpu", "--ddp-backend", "legacy_ddp")
    succeed("train", *train, "--arch", "transformer", *SMALL.split(), *model.split(), "--save-dir", old)

    capsys.readouterr()
    convert(old / "checkpoint_last.pt", output=converted)
    said = capsys.readouterr().out
    advice = next(line for line in said.splitlines() if line.startswith("Train it with: "))
    option, path, *words = shlex.split(advice.removeprefix("Train it with: "))
    assert (option, path) == ("--finetune-from-model", str(converted))
    plugin = ("--user-dir", "sret_fairseq")
    said = succeed("train", *train, *plugin, *words, *start, path, "--save-dir", new)
    assert "sret.pt (epoch 1 @ 0 updates)" in said and "done training" in said

    both = f"{converted}{os.pathsep}{new / 'checkpoint_last.pt'}"
    limits = "--cpu --beam 2 --max-len-b 5 --num-workers 0 --required-batch-size-multiple 1".split()
    said = succeed("generate", tmp_path / "bin", *plugin, "--path", both, *limits)
    assert "Translated 18 sentences" in said
