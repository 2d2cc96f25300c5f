"""Steps of translating on plain tensors: the layers' numbers, and the layers themselves where something differs."""

import pytest
import torch

from sret_fairseq.layers.step import serves
from support.models import COMBINATIONS, build_sret, generate, lengths, pad, source, target

SOURCES = pad([source(9, seed=1), source(3, seed=2)], left=True)
TARGETS = torch.stack([target(6), target(6, seed=1)])
CHANNELS = [name for name, options in COMBINATIONS.items() if options.get("residual_coefficient_size") == "channel"]


def prepared(**options):
    """A model as fairseq-generate makes it ready, after a translation."""
    model = build_sret(**options)
    model.make_generation_fast_()
    generate(model, SOURCES)
    return model


@torch.no_grad()
def stepwise(model):
    """Logits and the weights of cross-attention where there is one, token by token."""
    encoder_out, state, steps = model.encoder(SOURCES, lengths(SOURCES)), {}, []
    for length in range(1, TARGETS.size(1) + 1):
        steps.append(model.decoder(TARGETS[:, :length], encoder_out=encoder_out, incremental_state=state))
    weights = [extra["attn"][0] for _, extra in steps if extra["attn"][0] is not None]
    return torch.cat([out for out, _ in steps], dim=1), torch.cat(weights, dim=1) if weights else torch.zeros(1)


@pytest.mark.parametrize("name", COMBINATIONS)
def test_as_the_layers(name):
    """Every combination of options takes steps, but for coefficients a channel, and computes what its layers do."""
    fast, slow = prepared(**COMBINATIONS[name]), build_sret(**COMBINATIONS[name])
    for found, expected in zip(stepwise(fast), stepwise(slow)):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert (fast.decoder.steps.groups is None) == (name in CHANNELS) and slow.decoder.steps is None


def test_some_combination_has_a_coefficient_a_channel():
    """Or the test above would not tell."""
    assert CHANNELS


def test_not_while_gradients_are_wanted():
    """They would not reach the coefficients, which a step has as plain numbers."""
    model = prepared()
    with torch.enable_grad():
        encoder_out = model.encoder(SOURCES, lengths(SOURCES))
        out, _ = model.decoder(TARGETS[:, :1], encoder_out=encoder_out, incremental_state={})
    out.sum().backward()
    connection = model.decoder.layers[0].blocks[0].ffn_residual
    assert model.decoder.steps.groups is None and connection.coefficients.residual.grad.abs() > 0


def test_not_around_a_hook():
    """A layer with a hook is called, as by who looks at activations; without it steps are taken again."""
    model, seen = prepared(), []
    hook = model.decoder.layers[0].blocks[0].ffn.fc1.register_forward_hook(lambda *_: seen.append(1))
    generate(model, SOURCES)
    assert seen and model.decoder.steps.groups is None
    hook.remove()
    generate(model, SOURCES)
    assert model.decoder.steps.groups is not None


def test_not_around_another_layer():
    """What somebody put in a layer's place is called."""

    class Doubled(torch.nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    model = prepared()
    ffn = model.decoder.layers[0].blocks[0].ffn
    other = Doubled(ffn.fc1.in_features, ffn.fc1.out_features)
    other.load_state_dict(ffn.fc1.state_dict())
    before, _ = stepwise(model)
    ffn.fc1 = other.eval()
    after, _ = stepwise(model)
    assert model.decoder.steps.groups is None and not torch.allclose(before, after)


@torch.no_grad()
def test_not_for_a_translation_of_another_depth():
    """Two translations of one model, token by token in turn, one of them with a pass less."""
    model, other = prepared(), build_sret()

    def in_turn(decoding):
        encoder_out, states, steps = decoding.encoder(SOURCES, lengths(SOURCES)), ({}, {}), ([], [])
        for length in range(1, TARGETS.size(1) + 1):
            for state, out, passes in zip(states, steps, (2, 1)):
                with decoding.at_passes(passes):
                    out.append(
                        decoding.decoder(TARGETS[:, :length], encoder_out=encoder_out, incremental_state=state)[0]
                    )
        return [torch.cat(out, dim=1) for out in steps]

    for found, expected in zip(in_turn(model), in_turn(other)):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_not_under_autocast():
    """Which would make the stream one of 16 bits."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        (found, _), (expected, _) = stepwise(prepared()), stepwise(build_sret())
    assert torch.equal(found, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_not_where_the_stream_is_wider_than_the_weights(dtype):
    """With scaled residuals in 16 bits, on any device."""
    model = build_sret(depth_scaled_residuals=True).to(dtype)
    assert serves(model.decoder.layers[0].blocks[0].ffn_residual) == (dtype == torch.float32)


def test_a_last_layer_without_bias():
    """It trains and translates, by itself."""
    model = build_sret()
    ffn = model.decoder.layers[0].blocks[0].ffn
    ffn.fc2 = torch.nn.Linear(ffn.fc2.in_features, ffn.fc2.out_features, bias=False)
    model.train()(SOURCES, lengths(SOURCES), TARGETS)[0].sum().backward()
    assert ffn.fc2.weight.grad.any()
    model.eval().make_generation_fast_()
    generate(model, SOURCES)
    assert model.decoder.steps.groups is None


def test_a_model_that_has_translated_can_be_scripted():
    """TorchScript passes over what it does not know, and computes the same."""
    model = prepared()
    scripted = torch.jit.script(model)
    arguments = SOURCES, lengths(SOURCES), TARGETS
    torch.testing.assert_close(scripted(*arguments)[0], model(*arguments)[0], atol=1e-5, rtol=0)


def test_not_where_dropout_is_kept():
    """``--retain-dropout``, with which translations are drawn at random."""
    model = build_sret(dropout=0.5, retain_dropout=True)
    model.make_generation_fast_(retain_dropout=True, retain_dropout_modules=None)
    model.eval()
    (first, _), (second, _) = stepwise(model), stepwise(model)
    assert model.decoder.steps.groups is None and not torch.allclose(first, second)


def test_not_where_a_part_is_in_training():
    """As dropout that somebody turned on by itself."""
    model = prepared()
    model.decoder.layers[0].blocks[0].ffn_residual.dropout.train()
    generate(model, SOURCES)
    assert model.decoder.steps.groups is None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_not_in_16_bits_on_a_cpu(dtype):
    """There a product rounds the coefficients."""
    model = prepared().to(dtype)
    generate(model, SOURCES)
    assert model.decoder.steps.groups is None
