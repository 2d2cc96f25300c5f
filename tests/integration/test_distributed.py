"""Two processes on the CPU: the three ways to start them, fairseq's two kinds of DDP, and resuming."""

import os
import sys
from subprocess import PIPE, STDOUT, run

import pytest
import torch
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.distributed import utils as distributed_utils
from fairseq_cli import train as fairseq_train

from support.models import REPOSITORY
from support.training import (
    BATCHES,
    LOG,
    MODEL,
    OPTIMIZER,
    arguments,
    assert_same_weights,
    load,
    train,
    train_in_two,
)

# One process with --update-freq 2 adds up the very batches that two processes share.
EXACT = "--optimizer sgd --lr 0.1 --dropout 0 --max-update 4 --update-epoch-batch-itr True"
TOLERANCE = {"atol": 1e-6, "rtol": 1e-5}


@pytest.fixture(scope="module")
def single(data, tmp_path_factory):
    """The weights that one process ends with."""
    return train(data, tmp_path_factory.mktemp("single"), f"{EXACT} --update-freq 2")["model"]


BACKENDS = pytest.mark.parametrize("backend", ["legacy_ddp", "c10d"])


@BACKENDS
@pytest.mark.parametrize("more", ["", "--checkpoint-activations"])
def test_two_processes_train_as_one(backend, more, data, single, tmp_path):
    """The final weights are those of one process, with activations kept or computed anew."""
    weights = train_in_two(data, tmp_path, f"{EXACT} --ddp-backend {backend} {more}")["model"]
    assert_same_weights(weights, single, **TOLERANCE)


@BACKENDS
def test_mixed_depth(backend, data, tmp_path):
    """Two forward passes and one backward, the shallow one without the later passes' parameters."""
    words = f"{EXACT} --criterion sret_mixed_depth --mixed-depth 1 --label-smoothing 0.1"
    weights = train_in_two(data, tmp_path / "two", f"{words} --ddp-backend {backend}")["model"]
    alone = train(data, tmp_path / "one", f"{words} --update-freq 2")["model"]
    assert_same_weights(weights, alone, **TOLERANCE)


@BACKENDS
def test_two_processes_in_float16(backend, data, tmp_path):
    """The weights of one process in float16, up to its rounding of numbers up to 4."""
    half = f"{EXACT} --fp16 --fp16-no-flatten-grads"
    weights = train_in_two(data, tmp_path / "two", f"{half} --ddp-backend {backend}")["model"]
    alone = train(data, tmp_path / "one", f"{half} --update-freq 2")["model"]
    assert_same_weights(weights, alone, atol=4 * 2**-10, rtol=0)


@pytest.mark.parametrize("backend", ["legacy_ddp", "c10d --find-unused-parameters"])
def test_layerdrop_leaves_groups_without_a_gradient(backend, data, single, tmp_path):
    """With groups dropped at random in both processes the training goes on; c10d has to be told."""
    words = f"{EXACT} --ddp-backend {backend} --encoder-layerdrop 0.5 --decoder-layerdrop 0.5"
    weights = train_in_two(data, tmp_path, words)["model"]
    assert all(weight.isfinite().all() for weight in weights.values())
    alone = train(data, tmp_path / "alone", f"{EXACT} --update-freq 2")["model"]
    assert any((weights[name] != alone[name]).any() for name in weights)


def test_resumed_on_two_processes(data, single, tmp_path):
    """Stopped after two of four updates and resumed, two processes end where one did."""
    words = f"{EXACT} --load-checkpoint-on-all-dp-ranks --save-interval-updates 1"
    train_in_two(data, tmp_path, f"{words} --max-update 2")
    assert_same_weights(train_in_two(data, tmp_path, words)["model"], single, **TOLERANCE)


@pytest.mark.slow
def test_torchrun(data, single, tmp_path):
    """torchrun starts the processes; fairseq has to be told rank and size, which it takes over from torchrun only where
    there are GPUs to count."""
    words = [str(data), "--user-dir", "sret_fairseq", "--save-dir", str(tmp_path), "--cpu"]
    words += f"{MODEL} {BATCHES} {OPTIMIZER} {LOG} {EXACT} --ddp-backend legacy_ddp".split()
    words += "--distributed-world-size 2 --distributed-no-spawn --distributed-init-method env:// --device-id 0".split()
    script = f'{sys.executable} -m fairseq_cli.train "$@" --distributed-backend gloo --distributed-rank "$RANK"'
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--no-python"]
    environment = dict(os.environ, OMP_NUM_THREADS="1")
    ended = run([*command, "bash", "-c", script, "bash", *words], cwd=REPOSITORY, env=environment, stdout=PIPE,
                stderr=STDOUT, text=True)  # fmt: skip
    assert ended.returncode == 0, ended.stdout
    assert "training on 2 devices" in ended.stdout
    assert_same_weights(load(tmp_path)["model"], single, **TOLERANCE)


@pytest.mark.slow
def test_spawned_by_fairseq(data, single, tmp_path, monkeypatch):
    """fairseq starts as many processes as it counts GPUs: told of two, it trains in two, here on the CPU."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    words = f"{EXACT} --ddp-backend legacy_ddp --distributed-world-size 2 --distributed-backend gloo"
    config = convert_namespace_to_omegaconf(arguments(data, tmp_path, words))
    distributed_utils.call_main(config, fairseq_train.main)
    assert_same_weights(load(tmp_path)["model"], single, **TOLERANCE)
