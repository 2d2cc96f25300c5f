"""``--optimizer fused_adam`` in fairseq's trainings: it ends as ``adam`` does, and either resumes the other."""

import functools

import pytest
import torch

from support.training import assert_same_weights, train, train_in_two

# A larger epsilon: where a gradient is rounding alone, as of the keys' biases, Adam would make an update of it.
SETTINGS = "--adam-betas (0.9,0.98) --adam-eps 1e-6 --weight-decay 0.05 --lr 0.01 --clip-norm 0.5"
FLOAT32 = {"atol": 1e-5, "rtol": 1e-5}
IN_16_BITS = {"atol": 1e-2, "rtol": 1e-2}
AVERAGES = "--store-ema --ema-decay 0.9"


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """What fairseq's half precision asks of a GPU, answered by the CPU: the current device, a scaler of gradients."""
    monkeypatch.setattr(torch.cuda, "current_device", lambda: None)  # the index of the CPU
    monkeypatch.setattr(torch.cuda.amp, "GradScaler", functools.partial(torch.amp.GradScaler, "cpu"))


@pytest.mark.parametrize(
    "words, tolerance",
    [
        (f"--update-freq 2 {AVERAGES}", FLOAT32),
        (f"--bf16 --update-freq 2 {AVERAGES} --ema-fp32", IN_16_BITS),
        ("--fp16", IN_16_BITS),  # flat: one tensor of all parameters
        ("--amp", FLOAT32),
        ("--memory-efficient-fp16", IN_16_BITS),
    ],
)
def test_a_training_may_change_between_the_two(words, tolerance, data, tmp_path, as_on_a_gpu):
    """From adam to fused_adam and back: weights, their averages, moments and steps as if nothing had changed."""
    ends = {}
    for middle in ("adam", "fused_adam"):
        for name, updates in (("adam", 2), (middle, 4), ("adam", 6)):
            settings = f"{SETTINGS} {words} --optimizer {name} --max-update {updates}"
            ends[middle] = train(data, tmp_path / middle, settings)
    changed, same = ends["fused_adam"], ends["adam"]
    assert changed["optimizer_history"][-1]["num_updates"] == 6
    assert_same_weights(changed["model"], same["model"], **tolerance)
    if AVERAGES in words:
        assert_same_weights(changed["extra_state"]["ema"], same["extra_state"]["ema"], **tolerance)
    states = [end["last_optimizer_state"]["state"] for end in (changed, same)]
    assert {state["step"] for state in states[0].values()} == {6}
    torch.testing.assert_close(*states, **tolerance)


@pytest.mark.parametrize("words, tolerance", [("--ddp-backend c10d", FLOAT32), ("--ddp-backend legacy_ddp", FLOAT32),
                                              ("--ddp-backend c10d --bf16", IN_16_BITS)])  # fmt: skip
def test_on_two_processes(words, tolerance, data, tmp_path):
    """With both of fairseq's kinds of DistributedDataParallel; ``no_c10d`` is the second one's old name."""
    settings = f"{SETTINGS} --max-update 4 {words}"
    ends = [train_in_two(data, tmp_path / name, f"{settings} --optimizer {name}") for name in ("adam", "fused_adam")]
    assert_same_weights(ends[1]["model"], ends[0]["model"], **tolerance)
