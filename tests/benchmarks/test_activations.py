"""Memory over the depth: the models that are compared, the fit, and what does not fit into the memory."""

import argparse
import subprocess

import pytest

from benchmarks import activations, models
from sret_fairseq.summary import summary_lines

SETTINGS = argparse.Namespace(device="cpu", quick=True, sizes=["tiny"])


@pytest.mark.parametrize("power", [0.5, 1.0])
def test_growth(power):
    """The power is found behind whatever part does not depend on the depth."""
    points = [(depth, 100 + 7 * depth**power) for depth in (12, 36, 108, 324, 1008)]
    assert activations.growth(points) == pytest.approx(power, abs=0.01)


def test_systems_are_equally_deep():
    """All have the depth that the table says; in sret_transformer it adds no parameters."""
    sizes = set()
    for depth in (12, 36):
        built = {name: models.build("tiny", words, "cpu").model for name, words in activations.systems(depth).items()}
        theirs = built.pop("fairseq's transformer")
        assert len(theirs.encoder.layers) + len(theirs.decoder.layers) == depth
        for model in built.values():
            assert f"virtual depth {depth} in total" in summary_lines(model)[-1]
            sizes.add(models.parameters(model))
        assert built[activations.CHECKPOINTS].cfg.checkpoint_activations
    assert len(sizes) == 1


def test_what_does_not_fit_is_left_empty(monkeypatch):
    """A child that ran out of memory gives an empty cell, and any other failure its last words."""
    words = "RuntimeError: DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."

    def fails(command, **options):
        return subprocess.CompletedProcess(command, 1, "", words if "transformer" in command else "a fault")

    monkeypatch.setattr(subprocess, "run", fails)
    assert activations.peak("tiny", "--arch transformer", SETTINGS) is None
    with pytest.raises(SystemExit, match="a fault"):
        activations.peak("tiny", "--arch other", SETTINGS)


def test_table(monkeypatch):
    """One row a depth; what does not fit leaves its cell empty and its curve short."""
    peaks = {"sret_transformer": 20.0, activations.CHECKPOINTS: 10.0, "fairseq's transformer": None}
    order = {words: name for depth in (12, 36) for name, words in activations.systems(depth).items()}
    monkeypatch.setattr(activations, "peak", lambda size, words, settings: peaks[order[words]])
    report = activations.run(SETTINGS)
    assert report.table[1:] == [["tiny", "12", "20", "10", ""], ["tiny", "36", "20", "10", ""]]
    assert report.rows[1]["mebibytes"] == peaks
