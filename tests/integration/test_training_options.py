"""fairseq's training options with sret_transformer: accumulation, checkpointed activations, LayerDrop, noise, EMA."""

import pytest
import torch
from fairseq import checkpoint_utils, options, quantization_utils
from fairseq.modules.quantization.scalar.modules import IntLinear
from fairseq_cli import generate

from support.models import build_sret, logits, pad, source, target
from support.training import MODEL, assert_same_weights, load, train

SOURCES = pad([source(7), source(11, seed=1), source(2, seed=2)], left=True)
TARGETS = pad([target(9), target(4, seed=1), target(6, seed=2)])
# Stochastic gradient descent: Adam would blow up the rounding of gradients near zero.
EXACT = "--optimizer sgd --lr 0.1 --dropout 0"


@pytest.fixture(scope="module")
def untrained(data, tmp_path_factory):
    """The weights before the first update."""
    return train(data, tmp_path_factory.mktemp("untrained"), "--max-update 1 --lr 0")["model"]


def moved(before: dict, after: dict, prefix: str) -> set:
    """For each tensor whose name starts so: whether it has changed."""
    return {bool((before[name] != after[name]).any()) for name in before if name.startswith(prefix)}


def test_two_half_batches_make_a_whole_one(data, tmp_path, untrained):
    """--update-freq 2 adds up the gradients: half the batch, the same weights."""
    whole = train(data, tmp_path / "whole", f"{EXACT} --curriculum 9 --max-update 4 --batch-size 8")
    halves = train(data, tmp_path / "halves", f"{EXACT} --curriculum 9 --max-update 4 --batch-size 4 --update-freq 2")
    assert_same_weights(halves["model"], whole["model"], atol=1e-6, rtol=1e-5)
    other = train(data, tmp_path / "other", f"{EXACT} --curriculum 9 --max-update 4 --batch-size 4")
    with pytest.raises(AssertionError):
        assert_same_weights(other["model"], whole["model"], atol=1e-6, rtol=1e-5)
    assert moved(untrained, whole["model"], "decoder.layers") == {True}


@pytest.mark.parametrize("words", ["--checkpoint-activations", "--offload-activations"])
def test_recomputed_activations_end_in_the_same_weights(words, data, tmp_path):
    """With dropout and random slices on: what is computed anew draws the same numbers. Only the order in which
    gradients are added up differs."""
    random = f"{EXACT} --max-update 4 --dropout 0.3 --slice-permutation random"
    plain = train(data, tmp_path / "plain", random)
    recomputed = train(data, tmp_path / "recomputed", f"{random} {words}")
    assert recomputed["cfg"]["model"].checkpoint_activations
    assert_same_weights(recomputed["model"], plain["model"], atol=1e-6, rtol=1e-5)


def test_layerdrop_of_one_leaves_out_all_groups(data, tmp_path, untrained):
    """The groups of that side stay untrained, and what is around them learns."""
    encoder = train(data, tmp_path / "encoder", "--max-update 3 --encoder-layerdrop 1.0")["model"]
    assert moved(untrained, encoder, "encoder.layers") == {False}
    assert moved(untrained, encoder, "decoder.layers") == {True}
    assert moved(untrained, encoder, "encoder.embed_tokens") == {True}
    decoder = train(data, tmp_path / "decoder", "--max-update 3 --decoder-layerdrop 1.0")["model"]
    assert moved(untrained, decoder, "decoder.layers") == {False}
    assert moved(untrained, decoder, "encoder.layers") == {False}  # only the decoder's groups look at the encoder
    assert moved(untrained, decoder, "decoder.embed_tokens") == {True}


def test_layerdrop_of_a_half_drops_some_groups_at_some_updates(data, tmp_path, untrained):
    """With probability 1/2 five groups train at different updates, and all of them sooner or later."""
    words = f"{EXACT} --encoder-layerdrop 0.5 --decoder-layerdrop 0.5"
    seldom = train(data, tmp_path / "seldom", f"{words} --max-update 1")["model"]
    often = train(data, tmp_path / "often", f"{words} --max-update 12")["model"]
    groups = [f"encoder.layers.{index}." for index in range(2)] + [f"decoder.layers.{index}." for index in range(3)]
    once = [moved(untrained, seldom, group) for group in groups]
    assert {True} in once and {False} in once
    assert [moved(untrained, often, group) for group in groups] == [{True}] * 5


def generated(data, checkpoint, capsys, *words) -> list:
    """What fairseq-generate prints for the test set, its hypotheses in order."""
    settings = ["--user-dir", "sret_fairseq", "--path", str(checkpoint), "--cpu", "--max-len-b", "6", "--beam", "2"]
    batch = ["--max-tokens", "300", "--required-batch-size-multiple", "1"]
    args = options.parse_args_and_arch(options.get_generation_parser(), [str(data), *settings, *batch, *words])
    capsys.readouterr()
    generate.main(args)
    return sorted(line for line in capsys.readouterr().out.splitlines() if line.startswith("H-"))


def test_layers_to_keep_count_recursion_groups(data, tmp_path, capsys):
    """At generation --model-overrides keeps some groups: the model is that whose others were cut out by hand."""
    model = f"{MODEL} --encoder-layers 4 --decoder-layers 6"
    spans = "--encoder-recursion-span 2 --decoder-recursion-span 2 --encoder-layerdrop 0.2 --decoder-layerdrop 0.2"
    train(data, tmp_path, f"--max-update 2 {spans}", model=model)
    checkpoint = str(tmp_path / "checkpoint_last.pt")
    keep = {"encoder_layers_to_keep": "1", "decoder_layers_to_keep": "0,2"}
    (whole,), _ = checkpoint_utils.load_model_ensemble([checkpoint])
    (pruned,), _ = checkpoint_utils.load_model_ensemble([checkpoint], arg_overrides=keep)
    assert [len(side.layers) for side in (pruned.encoder, pruned.decoder)] == [1, 2]
    assert [len(side.layers[0].blocks) for side in (pruned.encoder, pruned.decoder)] == [2, 2]
    for side, groups in ((whole.encoder, [1]), (whole.decoder, [0, 2])):
        side.layers = torch.nn.ModuleList(side.layers[group] for group in groups)
        side.num_layers = len(groups)  # names the layer whose attention weights are computed
    sources, targets = SOURCES.clamp(max=12), TARGETS.clamp(max=12)
    expected = logits(whole.eval(), sources, targets)
    torch.testing.assert_close(logits(pruned.eval(), sources, targets), expected, atol=0, rtol=0)
    lines = generated(data, checkpoint, capsys, "--model-overrides", str(keep))
    assert len(lines) == 12 and lines != generated(data, checkpoint, capsys)


@pytest.fixture
def quantiser_without_gpu(monkeypatch):
    """fairseq moves the scales of its scalar quantisation to a GPU without asking: let that be the CPU."""
    monkeypatch.setattr(torch.Tensor, "cuda", lambda tensor: tensor)


def test_scalar_quantisation_noise_trains(data, tmp_path, untrained, quantiser_without_gpu):
    """--quant-noise-scalar: training moves the weights, on another way than without noise."""
    noisy = train(data, tmp_path / "noisy", f"{EXACT} --max-update 3 --quant-noise-scalar 0.5")["model"]
    plain = train(data, tmp_path / "plain", f"{EXACT} --max-update 3")["model"]
    assert moved(untrained, noisy, "encoder.layers") == {True}
    assert moved(plain, noisy, "encoder.layers") == {True}


def test_scalar_quantisation_noise_does_not_compound(quantiser_without_gpu):
    """The passes of a shared block quantise its one stored weight, each for itself, and none of them stores it."""
    model = build_sret(quant_noise_scalar=1.0, encoder_recursions=3)
    quantization_utils.quantize_model_scalar(model, model.args)
    shared = model.encoder.layers[0].blocks[0].ffn.fc1
    assert isinstance(shared, IntLinear)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    logits(model.train(), SOURCES, TARGETS)
    assert shared.counter == 3  # once a pass
    assert_same_weights(dict(model.state_dict()), before)


def test_ema_decays_shared_weights_once_an_update(data, tmp_path, capsys):
    """After updates 1 and 2 the average is d w1 + (1 - d) w2, shared blocks included; one may generate from it."""
    train(data, tmp_path, "--max-update 2 --save-interval-updates 1 --store-ema --ema-decay 0.75 --lr 0.05")
    first, last = load(tmp_path, "checkpoint_1_1.pt"), load(tmp_path)
    average = last["extra_state"]["ema"]
    expected = {name: 0.75 * first["model"][name] + 0.25 * weight for name, weight in last["model"].items()}
    assert_same_weights(dict(average), expected, atol=1e-6, rtol=1e-6)
    assert moved(last["model"], average, "decoder.layers") == {True}

    state = checkpoint_utils.load_ema_from_checkpoint(str(tmp_path / "checkpoint_last.pt"))
    assert_same_weights(dict(state["model"]), dict(average))
    torch.save(state, tmp_path / "average.pt")
    assert len(generated(data, tmp_path / "average.pt", capsys)) == 12
