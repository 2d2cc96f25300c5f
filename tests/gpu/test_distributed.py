"""Data-parallel training over NCCL (on a CPU: gloo), and fairscale's fully sharded one."""

import importlib.util

import pytest
import torch
from fairseq.distributed import LegacyDistributedDataParallel
from torch.nn.parallel import DistributedDataParallel

from support.device_trainings import COMMON, MODEL, PLAIN, SGD, UPDATES, command_line, distance
from support.training import GLOO, load, train, train_in_two
from support.wide import build_wide, loss_and_gradients, worst_error

# Sums in another order: float32's rounding, at every update.
TOLERANCE = 1e-3


@pytest.fixture
def group(device, tmp_path):
    """A process group of this process alone."""
    backend = "gloo" if device == "cpu" else "nccl"
    torch.distributed.init_process_group(backend, init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1)
    yield torch.distributed.group.WORLD
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("checkpointed", [False, True], ids=["kept", "computed anew"])
@pytest.mark.parametrize("backend", ["c10d", "legacy_ddp"])
def test_wrapped_model(backend, checkpointed, group, device):
    """The wrappers of both backends leave the gradients of the model alone, activations kept or computed anew."""
    expected = loss_and_gradients(build_wide().to(device), device)[1]
    model = build_wide(checkpoint_activations=checkpointed).to(device)
    if backend == "c10d":
        wrapped = DistributedDataParallel(model, device_ids=None if device == "cpu" else [0])
    else:
        wrapped = LegacyDistributedDataParallel(model, process_group=group, buffer_size=2**28)
    loss_and_gradients(wrapped, device)
    if backend == "legacy_ddp":
        wrapped.all_reduce_grads()
    found = {name: parameter.grad.double().cpu() for name, parameter in model.named_parameters()}
    assert worst_error(found, expected)[0] <= 32 * torch.finfo(torch.float32).eps


def alone(folder) -> str:
    """Options of a process group of one process, which fairseq-train makes for no other."""
    return (
        f"--distributed-init-method file://{folder}/meeting --distributed-rank 0 --device-id 0 --distributed-no-spawn"
    )


@pytest.mark.parametrize("backend", ["c10d", "legacy_ddp"])
def test_one_process(backend, device, data, references, side_by_side, tmp_path):
    """fairseq-train in a process group of its own ends where it ends without."""
    words = f"{SGD} {PLAIN} --ddp-backend {backend} {alone(tmp_path)} {GLOO if device == 'cpu' else ''}"
    line = command_line(words, device, data, references, tmp_path)
    (said,) = side_by_side.fairseq(("train", *line, "--max-update", UPDATES))
    assert "initialized host" in said
    found, expected, start = (load(each)["model"] for each in (tmp_path, references / "sgd", references / "untrained"))
    assert distance(found, expected, start) < TOLERANCE


def test_two_processes(device, data, references, side_by_side, tmp_path):
    """Two GPUs (on a CPU: two processes) end where one does that adds up both batches."""
    if device != "cpu" and torch.cuda.device_count() < 2:
        pytest.skip("there is one GPU")
    words = f"{MODEL} {SGD} {PLAIN} {COMMON}"
    expected = train(data, tmp_path / "one", f"{words} --update-freq 2 --max-update 4")["model"]
    if device == "cpu":
        found = train_in_two(data, tmp_path / "two", f"{words} --max-update 4 --distributed-world-size 2")["model"]
    else:
        line = command_line(f"{SGD} {PLAIN}", device, data, references, tmp_path / "two")
        side_by_side.fairseq(("train", *line, "--max-update", 4, "--distributed-world-size", 2))
        found = load(tmp_path / "two")["model"]
    start = load(references / "untrained")["model"]
    assert distance(found, expected, start) < TOLERANCE


@pytest.mark.skipif(importlib.util.find_spec("fairscale") is None, reason="fairscale is not installed")
@pytest.mark.parametrize("precision, tolerance", [("", TOLERANCE), ("--fp16", 0.1)], ids=["float32", "fp16"])
def test_fully_sharded(precision, tolerance, gpu, data, references, side_by_side, tmp_path):
    """--ddp-backend fully_sharded, which fairscale writes for GPUs: the weights of a training without."""
    words = f"{SGD} {PLAIN} {precision} --ddp-backend fully_sharded {alone(tmp_path)}"
    line = command_line(words, gpu, data, references, tmp_path)
    side_by_side.fairseq(("train", *line, "--max-update", UPDATES))
    found, expected, start = (load(each)["model"] for each in (tmp_path, references / "sgd", references / "untrained"))
    assert distance(found, expected, start) < tolerance
