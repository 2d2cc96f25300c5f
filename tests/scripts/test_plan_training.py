"""scripts/plan_training.py: what it computes from what it counts and what is assumed."""

import argparse
import json
import sys

import pytest
import torch

import plan_training
from recipe import plan, settings
from support.models import REPOSITORY

ARGS = argparse.Namespace(
    recipe="wmt14_en_de", teraflops=100.0, utilisation=0.5, launch_microseconds=10.0, gigabytes=[100.0, 10.0]
)
RECIPE = settings.read(REPOSITORY / "examples/wmt14_en_de/train.yaml", REPOSITORY)


def planned(gpus, nodes=1, operations=10**9, launches=(1000, 60)):
    model = plan_training.Costs("", 10**7, operations, 30 * 4 * 1000, launches)
    return plan_training.row(model, plan.share_out(RECIPE, gpus, nodes), 100, ARGS)


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
    assert plan_training.kept_bytes(Toy()) == 4 * (8 + 16) * length + tokens_of_table


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
