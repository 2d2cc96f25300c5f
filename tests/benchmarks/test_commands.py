"""The command line of the benchmarks. CI runs every one of them with --quick; no test asserts a time."""

import json
import os
import subprocess
import sys

import pytest
import torch

from benchmarks import __main__, options
from support.commands import refusal
from support.models import REPOSITORY


def benchmark(*words):
    """Run ``python -m benchmarks`` as run.sh does."""
    path = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "scripts")])
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *map(str, words)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "2"},
    )


def test_help():
    """run.sh tells what there is, without setting anything up."""
    run = subprocess.run(["bash", REPOSITORY / "benchmarks/run.sh", "--help"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert all(name in run.stdout for name in options.BENCHMARKS) and "--device" in run.stdout


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["speed"], "invalid choice: 'speed'"),
        (["train", "--pairs", "0"], "'0' is not a whole number of at least 1"),
        (["train", "--sizes", "tiny,huge"], "'huge' is none of tiny, base, big"),
        (["operations", "--device", "cuda"], "operations has no use for --device"),
        (["operations", "--sizes", "base"], "operations has no use for --sizes"),
        (["activations", "--pairs", "3"], "activations has no use for --pairs"),
        (["length", "--only", "no NLL"], "length has no use for --only"),
        (["depth", "--limit", "9"], "depth has no use for --limit"),
        (["memory", "--limit", "9"], "memory has no use for --limit on a CPU"),
        (["train", "--out", __file__], "cannot be made a folder"),
        (["train", "--out", "/sys/kernel"], "--out: /sys/kernel cannot be made a folder to write in"),
    ],
)
def test_bad_options(words, sentence):
    """What cannot work ends with one sentence."""
    assert sentence in refusal(__main__.main, *words)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_missing_gpu(tmp_path, monkeypatch):
    """--device cuda without a GPU is refused in a sentence."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # which the command sets
    said = refusal(__main__.main, "train", "--device", "cuda", "--out", tmp_path)
    assert said.startswith("benchmarks: --device cuda needs a GPU")


def test_defaults(tmp_path, monkeypatch):
    """Seven pairs unless told otherwise; --quick makes all small, and an option still wins over it."""
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    usual = options.parse(["train", "--out", str(tmp_path)])
    assert (usual.pairs, usual.sizes, usual.threads) == (7, ["tiny", "base"], 3)
    assert options.parse(["train", "--device", "cuda", "--out", str(tmp_path)]).sizes == ["base", "big"]
    quick = ["train", "--quick", "--out", str(tmp_path)]
    assert (options.parse(quick).pairs, options.parse(quick).sizes) == (1, ["tiny"])
    given = options.parse([*quick, "--pairs", "2", "--sizes", "base,big", "--threads", "1"])
    assert (given.pairs, given.sizes, given.threads) == (2, ["base", "big"], 1)


@pytest.mark.slow
def test_depth_quickly(tmp_path):
    """One benchmark from its options to its files."""
    run = benchmark("depth", "--quick", "--pairs", 2, "--threads", 1, "--out", tmp_path)
    assert run.returncode == 0, run.stderr
    assert "| tiny, forward " in run.stdout and "largest residual" in run.stdout
    written = json.loads((tmp_path / "depth-cpu-quick.json").read_text())
    assert written["threads"] == 1 and written["environment"]["OMP_NUM_THREADS"] == "1"
    assert [list(row["milliseconds"]) for row in written["rows"]] == [["1", "2", "4"]] * 3
    assert all(len(samples) == 2 for row in written["rows"] for samples in row["milliseconds"].values())
