"""Invariant 11: slices mix, however often blocks are applied; which tokens an output depends on, by its gradient."""

import argparse
import contextlib

import pytest
import torch

from sret_fairseq.layers.layout import applications
from sret_fairseq.model import SretTransformerModel
from sret_fairseq.summary import summary_lines
from support.models import SIZES, Task, build_sret, source, target

# Both sides of a model; each is at least two applications deep. "runs": passes that run of those that were trained.
DEPTHS = {
    "one-pass": {"layers": 2, "recursions": 1},
    "three-passes": {"layers": 1, "recursions": 3},
    "three-passes-of-two": {"layers": 2, "recursions": 3},
    "two-passes": {"layers": 1, "recursions": 2},
    "first-of-two": {"layers": 2, "recursions": 2, "runs": 1},
    "first-of-three-in-a-loop": {"layers": 2, "recursions": 3, "recursion_span": 2, "runs": 1},
    "loop-of-three": {"layers": 3, "recursions": 1, "recursion_span": 3},
    "back-and-forth": {"layers": 2, "recursions": 2, "recursion_span": 2, "reverse": True},
    "two-loops": {"layers": 4, "recursions": 3, "recursion_span": 2},
    "two-layers-kept": {"layers": 4, "recursions": 1, "layers_to_keep": "0,2"},
}


def build(name: str, **options):
    """The model of DEPTHS, and a context in which the passes run that are asked for."""
    settings = dict(DEPTHS[name])
    runs, reverse = settings.pop("runs", 0), settings.pop("reverse", False)
    sides = {f"{side}_{key}": value for side in ("encoder", "decoder") for key, value in settings.items()}
    model = build_sret(nll_ratio=0.0, recursion_reverse=reverse, **sides, **options)
    return model, model.at_passes(runs) if runs else contextlib.nullcontext()


def dependencies(embed, run) -> torch.Tensor:
    """Whether output t depends on token s: (T, S).

    Args:
        embed: the module that embeds the tokens.
        run: computes the output (T, C) of one sentence.
    """
    embedded = []

    def capture(module, inputs, output):
        embedded.append(output.detach().requires_grad_())
        return embedded[-1]

    hook = embed.register_forward_hook(capture)
    out = run()
    hook.remove()
    direction = torch.randn(out.size(1))
    gradients = [torch.autograd.grad((row * direction).sum(), embedded[0], retain_graph=True)[0][0] for row in out]
    return torch.stack(gradients).abs().amax(dim=2) > 0


def encoder_dependencies(model, length: int) -> torch.Tensor:
    """The same of the encoder."""
    tokens = source(length)[None]
    return dependencies(model.encoder.embed_tokens, lambda: model.encoder(tokens, None)["encoder_out"][0][:, 0])


@pytest.mark.parametrize("slices", [2, 3])
@pytest.mark.parametrize("depth", DEPTHS)
def test_each_encoder_output_depends_on_each_token(depth, slices):
    """From G * G tokens on, of which the encoder masks the shorter sentences and moves the tokens of longer ones."""
    model, chosen_passes = build(depth, encoder_slices=str(slices))
    with chosen_passes:
        for length in (slices**2, slices**2 + 1, 13):
            assert encoder_dependencies(model, length).all(), length


def test_without_permutation_they_do_not_mix():
    """That the test above can fail."""
    model, _ = build("two-passes", encoder_slices="2", slice_permutation="none")
    assert not encoder_dependencies(model, 13).all()


def test_they_mix_in_whatever_layers_layerdrop_leaves():
    """Applications are counted as they run, so that two layers of one pass mix, also the first and the third."""
    model = build_sret(encoder_layers=4, encoder_recursions=1, encoder_slices="2", encoder_layerdrop=0.5, dropout=0.0)
    model.encoder.train()
    drawn = []
    for layer in model.encoder.layers.modules():
        if hasattr(layer, "blocks"):
            layer.register_forward_hook(lambda module, *_: drawn.append(module))
    for seed in range(40):
        drawn.clear()
        torch.manual_seed(seed)
        mixed = encoder_dependencies(model, 13).all()
        assert mixed == (len(drawn) > 1), seed


def reach(length: int, chunk: int, strides: int) -> torch.Tensor:
    """What --decoder-slices promises of a chunk and a stride in turn: a token's own chunk, and most of earlier ones."""
    token, other = torch.arange(length)[:, None], torch.arange(length)[None]
    same_chunk, early_in_its_chunk = token // chunk == other // chunk, other % chunk <= chunk - strides
    return (other <= token) & (same_chunk | early_in_its_chunk)


@pytest.mark.parametrize("chunk, strides", [(4, 2), (5, 3), (3, 3)])
@pytest.mark.parametrize("depth", DEPTHS)
def test_each_decoder_output_depends_on_the_tokens_of_its_reach(depth, chunk, strides):
    """And never on a later one."""
    options = {"decoder_slices": str(strides), "decoder_chunk_size": chunk, "no_cross_attention": True}
    model, chosen_passes = build(depth, **options)
    tokens = target(17)[None]
    with chosen_passes:
        found = dependencies(
            model.decoder.embed_tokens, lambda: model.decoder.extract_features(tokens, encoder_out=None)[0][0]
        )
    assert found[reach(17, chunk, strides)].all() and not found.triu(1).any()


@pytest.mark.parametrize("passes, span, groups", [(1, 1, 5), (2, 1, 2), (3, 1, 2), (1, 3, 2), (3, 2, 2), (2, 3, 1)])
def test_every_second_application_is_permuted(passes, span, groups):
    """Along the whole depth; and pass by pass within each group."""
    order = applications(passes, span, groups)
    assert [permuted for _, permuted in order] == [number % 2 == 1 for number in range(passes * span * groups)]
    assert [number for number, _ in order] == [number // span for number in range(passes * span)] * groups


@pytest.mark.parametrize(
    "sizes, along_passes",
    [({}, False), ({"encoder_recursion_span": 2}, True), ({"encoder_recursions": 3}, True)],
)
def test_a_checkpoint_of_before_keeps_its_slices(sizes, along_passes):
    """Slices used to alternate along passes: where that differs, a trained model goes on so, and says so."""
    trained = {"encoder_trained_recursions": sizes.get("encoder_recursions", 2), "decoder_trained_recursions": 2}
    args = argparse.Namespace(**{**SIZES, **trained, **sizes})
    model = SretTransformerModel.build_model(args, Task())
    assert model.encoder.along_passes == along_passes and not model.decoder.along_passes
    assert ("slices alternate along passes" in "\n".join(summary_lines(model))) == along_passes
    again = SretTransformerModel.build_model(args, Task())  # what it was built with is what the next checkpoint holds
    assert again.encoder.along_passes == along_passes
    assert not build_sret(**sizes).encoder.along_passes
    assert applications(3, 2, 1, along_passes=True) == [(0, False)] * 2 + [(1, True)] * 2 + [(2, False)] * 2
