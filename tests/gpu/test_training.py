"""fairseq-train on the device in every number format and with every option that a GPU treats in its own way.

Each training makes 12 updates in two calls of the command, of which the second one resumes the first one's checkpoint.
Its weights are compared with those that the CPU ends with in float32, and a translation is made with them.
"""

import math
import os
from pathlib import Path
from typing import Dict, NamedTuple

import pytest
import torch

from support.decoding import lines_of
from support.device_trainings import (
    ADAM,
    CHUNKED,
    FIRST,
    MIXED,
    PLAIN,
    SGD,
    SOFT,
    UPDATES,
    command_line,
    distance,
    generate_line,
)
from support.side_by_side import SideBySide
from support.training import load

# How far the weights may end from the reference's, relative to how far those have gone. Weights themselves are rounded
# by eps / 2 (bfloat16: 0.4 %, of which a training this short has gone some per cent), and Adam makes much of gradients
# near zero. Seen on a CPU: 0.0001, 0.04 and 0.11.
TOLERANCE = {"float32": 1e-3, "fp16": 0.1, "bf16": 0.25}
ROUNDED = {"--fp16": torch.float16, "--memory-efficient-fp16": torch.float16, "--bf16": torch.bfloat16,
           "--memory-efficient-bf16": torch.bfloat16}  # fmt: skip


class Training(NamedTuple):
    """Options of a training, the reference that it is compared with, and the number format that is its tolerance."""

    words: str
    reference: str
    format: str = "float32"


TRAININGS: Dict[str, Training] = {
    "float32": Training(f"{SGD} {PLAIN}", "sgd"),
    "fp16": Training(f"{SGD} {PLAIN} --fp16", "sgd", "fp16"),
    "bf16": Training(f"{SGD} {PLAIN} --bf16", "sgd", "bf16"),
    "amp": Training(f"{SGD} {PLAIN} --amp", "sgd", "fp16"),
    "memory-efficient fp16": Training(f"{ADAM} adam {PLAIN} --memory-efficient-fp16", "adam", "fp16"),
    "memory-efficient bf16": Training(f"{ADAM} adam {PLAIN} --memory-efficient-bf16", "adam", "bf16"),
    "chunked": Training(f"{SGD} {CHUNKED}", "sgd"),
    "chunked fp16": Training(f"{SGD} {CHUNKED} --fp16", "sgd", "fp16"),
    "chunked amp": Training(f"{SGD} {CHUNKED} --amp", "sgd", "fp16"),
    "mixed depth bf16": Training(f"{SGD} {MIXED} --bf16", "mixed-depth", "bf16"),
    "distillation fp16": Training(f"{SGD} {SOFT} --fp16", "distillation", "fp16"),
    "fused_adam": Training(f"{ADAM} fused_adam {PLAIN}", "adam"),
    "fused_adam fp16": Training(f"{ADAM} fused_adam {PLAIN} --fp16", "adam", "fp16"),
    "fused_adam bf16": Training(f"{ADAM} fused_adam {PLAIN} --bf16", "adam", "bf16"),
    "checkpointed": Training(f"{SGD} {PLAIN} --checkpoint-activations", "sgd"),
    "offloaded": Training(f"{SGD} {PLAIN} --offload-activations", "sgd"),
    "EMA bf16": Training(f"{SGD} {PLAIN} --bf16 --store-ema --ema-decay 0.5 --ema-fp32", "EMA", "bf16"),
    "quantisation noise": Training(f"{SGD} {PLAIN} --quant-noise-scalar 0.5", "sgd", "noise"),
}


class Outcome(NamedTuple):
    """What the two calls and the translation say, and the last checkpoint."""

    first: str
    second: str
    translation: str
    checkpoint: dict


def perform(name: str, device: str, data: Path, references: Path, folder: Path, processes: SideBySide) -> Outcome:
    """Train, resume and translate."""
    words = command_line(TRAININGS[name].words, device, data, references, folder)
    trainings = (("train", *words, "--max-update", updates) for updates in (FIRST, UPDATES))
    half = ["--fp16"] if device != "cpu" and TRAININGS[name].format == "fp16" else []
    said = processes.fairseq(*trainings, ("generate", *generate_line(device, data, folder), *half))
    return Outcome(*said, load(folder))


@pytest.fixture(params=TRAININGS)
def outcome(request, device, data, references, side_by_side, tmp_path_factory) -> Outcome:
    """What a training came to. In one process, the first test starts those of all the others."""
    if device == "cpu" and "quantisation" in request.param:
        pytest.skip("fairseq's scalar quantisation calls a GPU")
    wanted = [request.param]
    if "PYTEST_XDIST_WORKER" not in os.environ:
        names = [item.callspec.params.get("outcome") for item in request.session.items if hasattr(item, "callspec")]
        wanted += [name for name in names if name]
    for name in wanted:
        folder = tmp_path_factory.mktemp("training")
        arguments = (name, device, data, references, folder, side_by_side)
        side_by_side.start(name, lambda arguments=arguments: perform(*arguments))
    return side_by_side.futures[request.param].result()


def test_trains_resumes_and_translates(outcome, request, device, references):
    """The weights, and their moving average, end near those of the CPU in float32; each sentence is translated."""
    name = request.node.callspec.params["outcome"]
    words, reference, number_format = TRAININGS[name]
    assert ("CUDA enviro" in outcome.first) == (device == "cuda")
    assert f"@ {FIRST} updates)" in outcome.second
    assert outcome.checkpoint["optimizer_history"][-1]["num_updates"] == UPDATES
    for option, dtype in ROUNDED.items():
        if option in words.split():
            assert all(torch.equal(each, each.to(dtype).float()) for each in outcome.checkpoint["model"].values())

    start, expected = (load(references / each) for each in ("untrained", reference))
    model = outcome.checkpoint["model"]
    if number_format == "noise":  # drawn from another generator
        assert all(weight.isfinite().all() for weight in model.values())
        assert any((model[key] != weight).any() for key, weight in start["model"].items())
    else:
        assert distance(model, expected["model"], start["model"]) < TOLERANCE[number_format]
    if reference == "EMA":
        averages = (each["extra_state"]["ema"] for each in (outcome.checkpoint, expected))
        assert distance(*averages, start["model"]) < TOLERANCE[number_format]

    scores = [float(score) for _, score, _ in lines_of(outcome.translation, "H")]
    assert len(scores) == 12 and all(map(math.isfinite, scores))
