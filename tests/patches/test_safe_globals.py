"""torch reads fairseq's checkpoints with its check on, and refuses what a checkpoint of fairseq does not hold."""

import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from fairseq import checkpoint_utils

import sret_fairseq  # noqa: F401  (allows fairseq's globals)
from sret_fairseq.patches.checkpoints import CheckpointError
from support.checkpoints import Payload, write_checkpoint
from support.models import python
from support.training import BATCHES, MODEL, OPTIMIZER, train

# BLEU's n-gram counts are NumPy arrays.
TRAINING = (
    '--max-epoch 2 --store-ema --eval-bleu --eval-bleu-args {"beam":1,"max_len_b":3} --eval-bleu-detok space '
    "--best-checkpoint-metric bleu --maximize-best-checkpoint-metric"
)


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory) -> Path:
    """A folder with the checkpoints of two epochs, with an EMA and BLEU."""
    folder = tmp_path_factory.mktemp("run")
    train(data, folder, TRAINING)
    return folder


def test_fairseq_checkpoint_is_of_allowed_globals(trained):
    state = torch.load(trained / "checkpoint_last.pt", weights_only=True)
    counts = [values["sum"] for _, name, _, values in state["extra_state"]["metrics"]["valid"] if "counts" in name]
    assert len(counts) == 1 and isinstance(counts[0], np.ndarray)


@pytest.mark.slow
def test_resume_average_generate(trained, data):
    """Each in a process of its own, in which --user-dir alone allows the globals."""
    plugin = (data, "--user-dir", "sret_fairseq", "--cpu", "--num-workers", 0)
    words = f"{MODEL} {BATCHES} {OPTIMIZER} --save-dir {trained} {TRAINING} --max-epoch 3".split()
    log = python("-m", "fairseq_cli.train", *plugin, *words)
    assert "Loaded checkpoint" in log and "begin training epoch 1\n" not in log
    assert (trained / "checkpoint3.pt").exists()
    average, last = trained / "average.pt", trained / "checkpoint_last.pt"
    words = ("--inputs", trained, "--num-epoch-checkpoints", 2, "--output", average)
    python("scripts/average_checkpoints.py", *words)
    words = ("--path", f"{average}{os.pathsep}{last}", "--beam", 1, "--max-len-b", 3)
    said = python("-m", "fairseq_cli.generate", *plugin, *words, "--required-batch-size-multiple", 1)
    assert "Translated 12 sentences" in said


@pytest.mark.slow
def test_from_pretrained(trained, data):
    arguments = f"{str(trained)!r}, 'checkpoint1.pt', {str(data)!r}, user_dir='sret_fairseq'"
    code = "from fairseq.models.transformer import TransformerModel as M\n"
    assert "translated:" in python("-c", f"{code}print('translated:', M.from_pretrained({arguments}).translate('a'))")


@pytest.mark.parametrize("number", [np.float64(1.5), np.float32(1.5), np.int64(3), np.bool_(True)])
def test_numpy_numbers_and_arrays(tmp_path, number):
    metrics = {"number": number, "array": np.array([number, number])}
    path = write_checkpoint(tmp_path / "a.pt", {"weight": torch.ones(1)}, metrics=metrics)
    loaded = checkpoint_utils.load_checkpoint_to_cpu(str(path))["metrics"]
    assert loaded["number"] == number and type(loaded["number"]) is type(number)
    assert loaded["array"].tolist() == [number, number] and loaded["array"].dtype == number.dtype


@pytest.mark.parametrize("module", ["numpy.core", "numpy._core"])
def test_numpy_of_the_other_major_version(tmp_path, module):
    """The module's name in the file is NumPy 1's or NumPy 2's, whichever is installed here."""
    numpy_state = {"number": np.float64(2.5), "array": np.arange(3)}
    original = write_checkpoint(tmp_path / "a.pt", {"weight": torch.ones(1)}, metrics=numpy_state)
    path = tmp_path / "b.pt"
    with zipfile.ZipFile(original) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            contents = source.read(name)
            for installed in (b"cnumpy.core.", b"cnumpy._core."):
                contents = contents.replace(installed, f"c{module}.".encode())
            target.writestr(name, contents)
    loaded = torch.load(path, weights_only=True)["metrics"]
    assert loaded["number"] == 2.5 and loaded["array"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("wrap", [lambda payload: payload, lambda payload: [{"list": payload}]])
def test_payload_does_not_run(tmp_path, wrap):
    evidence = tmp_path / "evidence"
    payload = wrap(Payload(evidence))
    pickle.loads(pickle.dumps(payload))
    assert evidence.exists()  # it would run where nothing stops it
    evidence.rmdir()
    path = write_checkpoint(tmp_path / "a.pt", {"weight": torch.ones(1)}, extra=payload)
    with pytest.raises(CheckpointError, match=r"posix\.mkdir"):
        checkpoint_utils.load_checkpoint_to_cpu(str(path))
    assert not evidence.exists()


class Unlisted:
    """A class that does no harm, but is not fairseq's."""


@pytest.mark.parametrize("extra", [Unlisted(), np.array(["text", None], dtype=object)], ids=["class", "array"])
def test_data_outside_the_list_is_refused(tmp_path, extra):
    path = write_checkpoint(tmp_path / "a.pt", {"weight": torch.ones(1)}, extra=extra)
    with pytest.raises(CheckpointError, match=r"carries \S+(Unlisted|DType), which is not among the data"):
        checkpoint_utils.load_checkpoint_to_cpu(str(path))
