"""scripts/plan_training.py: what it computes from what it counts and what is assumed."""

import argparse
import json
import sys
from unittest.mock import ANY

import pytest
import torch

import plan_training
from recipe import plan, settings
from support.commands import refusal
from support.models import REPOSITORY, build_fairseq, build_sret

ARGS = argparse.Namespace(
    recipe="wmt14_en_de", teraflops=100.0, utilisation=0.5, launch_microseconds=10.0, gigabytes=[100.0, 10.0]
)
RECIPE = settings.read(REPOSITORY / "examples/wmt14_en_de/train.yaml", REPOSITORY)


def planned(gpus, nodes=1, operations=10**9, launches=(1000, 60)):
    model = plan_training.Costs("", 10**7, operations, 30 * 4 * 1000, 2**30, launches)
    return plan_training.row(model, plan.share_out(RECIPE, gpus, nodes), 100, ARGS)


def test_launches_are_the_counted_ones():
    """Those of docs/results/data/speed_operations.json, which test_operations.py counts anew."""
    rows = json.loads((REPOSITORY / "docs/results/data/speed_operations.json").read_text())["rows"]
    found = {row["name"].removeprefix("defaults: "): (row["median_a"], row["median_b"]) for row in rows[:6]}
    passes, update = found["forward and backward"], found["update, fused_adam"]
    rest = update[1] - passes[1]
    counted = {"transformer": (passes[0], rest), "sret_transformer": (passes[1], rest)}
    assert counted == plan_training.LAUNCHES


@pytest.mark.parametrize("part", ["operations", "launches", "exchange"])
def test_what_an_update_is_bound_by(part):
    """What takes longest."""
    seconds = {f"seconds_of_{each}": 2.0 if each == part else 1.0 for each in ("operations", "launches", "exchange")}
    row = plan_training.table([{**planned(1), "size": "base", "model": "sret", **seconds}]).splitlines()[-1]
    assert row.split("|")[9].strip() == part


def test_one_gpu_by_hand():
    """28,672 tokens, a tenth of them padding, are 860.16 pairs of 30 pieces."""
    one = planned(1)
    assert (one["update_freq"], one["max_tokens"]) == (8, 3584)
    assert one["seconds_of_operations"] == pytest.approx(860.16e9 / 50e12, abs=1e-4)
    assert one["seconds_of_launches"] == pytest.approx(8 * 1000 * 10e-6)
    assert one["seconds_of_exchange"] == 0 and one["seconds_per_update"] == pytest.approx(0.08 + 60 * 10e-6, abs=1e-4)
    assert one["epochs"] == pytest.approx(100 * 860.16 / plan_training.PAIRS["wmt14_en_de"], abs=0.1)


def test_several_gpus_share_operations_and_exchange_gradients():
    many = planned(8, operations=10**12)
    assert many["update_freq"] == 1
    assert many["seconds_of_operations"] == pytest.approx(860.16e12 / 50e12 / 8, abs=1e-4)
    assert many["seconds_of_exchange"] == pytest.approx(4e7 / 100e9, abs=1e-4)
    assert many["gpu_hours"] == pytest.approx(8 * many["hours"], abs=0.5)
    assert planned(64, nodes=8)["seconds_of_exchange"] == pytest.approx(4e7 / 10e9, abs=1e-4)


def test_what_a_layer_keeps():
    """Of a linear layer and ReLU in a row: the inputs of either, or what one of them returned."""

    class Toy(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.layer = torch.nn.Embedding(9, 8), torch.nn.Linear(8, 16)

        def forward(self, tokens, lengths, targets):
            return torch.relu(self.layer(self.table(tokens)))

    length = plan_training.LENGTH
    tokens_of_table = 8 * length
    each, once = plan_training.kept_bytes(Toy())
    assert (each, once) == (4 * (8 + 16) * length + tokens_of_table, 0)


def test_layers_multiplied_by_coefficients_are_kept_once():
    """Each last layer with its bias, for whatever number of pairs; what a pair keeps is the same without them."""
    model, plain = build_sret(), build_sret(residual_coefficients="none")
    last = [value for name, value in model.named_parameters() if name.endswith(("out_proj.weight", "fc2.weight"))]
    once, without = (plan_training.kept_bytes(each)[1] for each in (model, plain))
    assert once - without == 4 * sum(weight.numel() for weight in last)
    assert plan_training.kept_bytes(build_fairseq()) == (
        ANY,
        4 * plan_training.LENGTH**2,
    )  # the causal mask


def test_memory_of_activations():
    """In half of float32's bytes: 108 pairs of 3,584 tokens, a tenth of them padding, and what is kept once."""
    assert planned(1)["gib_of_activations"] == pytest.approx((107.52 * 120_000 + 2**30) / 2 / 2**30, abs=0.006)


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["--teraflops", "0"], "--teraflops: '0' is not a number above 0"),
        (["--utilisation", "0"], "--utilisation: '0' is not a number above 0 and at most 1"),
        (["--utilisation", "1.5"], "--utilisation: '1.5' is not a number above 0 and at most 1"),
        (["--gigabytes", "0", "0", "--gpus", "8"], "--gigabytes: '0' is not a number above 0"),
        (["--launch-microseconds", "nan"], "--launch-microseconds: 'nan' is not a number of at least 0"),
    ],
)
def test_a_number_that_cannot_be(words, sentence):
    assert f"argument {sentence}" in refusal(plan_training.main, *words)


def test_command(monkeypatch, tmp_path, capsys):
    words = ["--recipe", "iwslt14_de_en", "--gpus", "1", "--json", tmp_path / "plan.json"]
    monkeypatch.setattr(sys, "argv", ["plan_training.py", *map(str, words)])
    monkeypatch.setattr(plan_training, "MODELS", ("sret",))
    monkeypatch.setitem(plan_training.VOCABULARY, "iwslt14_de_en", 50)
    plan_training.main()
    assert "| sret |" in " ".join(capsys.readouterr().out.split())
    (found,) = json.loads((tmp_path / "plan.json").read_text())["rows"]
    assert found["gpus"] == 1 and found["batch_tokens"] == 4096 and found["updates"] == 50_000
    assert found["parameters"] == 22_089_782 + 2 * 50 * 512
