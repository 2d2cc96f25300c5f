"""The script under test, called in this process."""

import sys

import pytest
import torch

import convert_transformer_checkpoint


@pytest.fixture
def convert(monkeypatch, tmp_path):
    """A function that runs the script in this process; it returns the checkpoint written, or raises SystemExit."""

    def run(path, *words, output=tmp_path / "sret.pt"):
        monkeypatch.setattr(sys, "argv", ["convert", "--input", str(path), "--output", str(output), *map(str, words)])
        convert_transformer_checkpoint.main()
        return torch.load(output, weights_only=True)

    return run
