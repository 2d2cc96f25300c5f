"""scripts/average_checkpoints.py takes the right files, averages them, and refuses what cannot be averaged."""

import argparse
import os
import runpy
import subprocess
import sys

import pytest
import torch

from support.checkpoints import Payload, write_checkpoint
from support.models import REPOSITORY

SCRIPT = REPOSITORY / "scripts" / "average_checkpoints.py"


@pytest.fixture
def average(monkeypatch, tmp_path):
    """A function that runs the script in this process; it returns the checkpoint written, or raises SystemExit."""
    output = tmp_path / "average.pt"

    def run(*words, output=output):
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, words), "--output", str(output)])
        runpy.run_path(str(SCRIPT))["main"]()
        return torch.load(output, weights_only=True)

    return run


@pytest.fixture
def refusal(average, tmp_path):
    """A function that runs the script, which has to fail in one sentence and write nothing; the sentence."""

    def run(*words, **keywords):
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(SystemExit) as caught:
            average(*words, **keywords)
        assert sorted(tmp_path.rglob("*")) == before
        sentence = caught.value.code
        assert isinstance(sentence, str) and "\n" not in sentence  # Python then exits with 1
        return sentence

    return run


def write(path, number):
    """A checkpoint with one parameter, a number."""
    path.parent.mkdir(exist_ok=True)
    return write_checkpoint(path, {"weight": torch.tensor([float(number)])})


@pytest.fixture
def folder(tmp_path):
    """A folder of checkpoints whose parameter tells them apart: the epoch, 1000 + the update, or -1."""
    folder = tmp_path / "checkpoints"
    for epoch in (1, 2, 9, 10, 11):
        write(folder / f"checkpoint{epoch}.pt", epoch)
    for epoch, update in ((1, 90), (2, 200), (10, 1000), (9, 900)):
        write(folder / f"checkpoint_{epoch}_{update}.pt", 1000 + update)
    for name in ("_best.pt", "_last.pt", ".best_bleu_30.1234.pt", "12-shard0.pt", "12.pt.tmp", "_12_1200.pt.tmp"):
        write(folder / f"checkpoint{name}", -1)
    return folder


def test_mean_by_hand(average, tmp_path):
    models = [
        {"weight": torch.tensor([[1.0, 2.0], [3.0, -4.0]]), "steps": torch.tensor([7])},
        {"weight": torch.tensor([[2.0, 2.0], [0.0, 1.0]]), "steps": torch.tensor([8])},
        {"weight": torch.tensor([[6.0, 5.0], [0.0, 0.0]]), "steps": torch.tensor([9])},
    ]
    paths = [write_checkpoint(tmp_path / f"{index}.pt", model) for index, model in enumerate(models)]
    model = average("--inputs", *paths)["model"]
    assert model["weight"].equal(torch.tensor([[3.0, 3.0], [1.0, -1.0]]))
    assert model["weight"].dtype == torch.float32
    assert model["steps"].equal(torch.tensor([9]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_full(average, tmp_path, dtype):
    """Eight times the largest number that fits, or a sum whose small terms would be lost."""
    large = torch.finfo(dtype).max
    paths = [
        write_checkpoint(tmp_path / f"{index}.pt", {"large": torch.tensor([large], dtype=dtype), "one": one})
        for index in range(8)
        for one in [torch.tensor([1.0 if index else 4096.0], dtype=dtype)]
    ]
    model = average("--inputs", *paths)["model"]
    assert model["large"].equal(torch.tensor([large], dtype=dtype))
    assert model["one"].equal(torch.tensor([(4096 + 7) / 8]).to(dtype))


def test_tied_tensors(average, tmp_path):
    paths = []
    for number in (1.0, 3.0):
        shared = torch.full((4, 2), number)
        path = tmp_path / f"{number}.pt"
        paths.append(write_checkpoint(path, {"embed_tokens": shared, "output_projection": shared}))
    model = average("--inputs", *paths)["model"]
    assert model["embed_tokens"].equal(torch.full((4, 2), 2.0))
    assert model["output_projection"].equal(torch.full((4, 2), 2.0))
    assert model["embed_tokens"].data_ptr() == model["output_projection"].data_ptr()


def test_tensors_tied_in_one_checkpoint_only(average, tmp_path):
    """They share nothing in the mean."""
    one, three = torch.ones(2), torch.full((2,), 3.0)
    first = write_checkpoint(tmp_path / "1.pt", {"embed_tokens": one, "output_projection": three})
    second = write_checkpoint(tmp_path / "2.pt", {"embed_tokens": one, "output_projection": one})
    model = average("--inputs", first, second)["model"]
    assert model["embed_tokens"].equal(one) and model["output_projection"].equal(torch.full((2,), 2.0))


def test_output_keeps_options_and_drops_optimizer(average, tmp_path):
    checkpoint = average("--inputs", write(tmp_path / "a.pt", 1), write(tmp_path / "b.pt", 2))
    assert checkpoint["cfg"]["model"].arch == "sret_transformer_tiny"
    assert checkpoint["extra_state"] == {"train_iterator": {"epoch": 3}}
    assert "last_optimizer_state" not in checkpoint
    path = write_checkpoint(tmp_path / "c.pt", {"weight": torch.ones(1)}, extra_state=None)
    assert average("--inputs", path)["extra_state"] == {}


def test_torchs_old_format(average, tmp_path):
    """Which is no zip archive."""
    checkpoint = torch.load(write(tmp_path / "a.pt", 1), weights_only=True)
    torch.save(checkpoint, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    weight = average("--inputs", tmp_path / "old.pt", write(tmp_path / "b.pt", 2))["model"]["weight"]
    assert weight.equal(torch.tensor([1.5]))


@pytest.mark.parametrize(
    "words, expected",
    [
        (["--num-epoch-checkpoints", 1], 11),
        (["--num-epoch-checkpoints", 3], (9 + 10 + 11) / 3),
        (["--num-epoch-checkpoints", 2, "--checkpoint-upper-bound", 10], (9 + 10) / 2),
        (["--num-epoch-checkpoints", 5], (1 + 2 + 9 + 10 + 11) / 5),
        (["--num-epoch-checkpoints", 6, "--or-fewer"], (1 + 2 + 9 + 10 + 11) / 5),
        (["--num-epoch-checkpoints", 2, "--or-fewer"], (10 + 11) / 2),
        (["--num-update-checkpoints", 9, "--or-fewer", "--checkpoint-upper-bound", 90], 1000 + 90),
        (["--num-update-checkpoints", 2], 1000 + (900 + 1000) / 2),
        (["--num-update-checkpoints", 2, "--checkpoint-upper-bound", 999], 1000 + (200 + 900) / 2),
    ],
)
def test_last_by_number(average, folder, words, expected):
    weight = average("--inputs", folder, *words)["model"]["weight"]
    assert weight.equal(torch.tensor([expected], dtype=torch.float32))


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["--num-epoch-checkpoints", 6], "has only 5 such checkpoints; add --or-fewer"),
        (["--num-epoch-checkpoints", 3, "--or-fewer", "--checkpoint-upper-bound", 0], "has only 0 such checkpoints up"),
        (["--num-epoch-checkpoints", 3, "--checkpoint-upper-bound", 8], "has only 2 such checkpoints up to 8; add"),
        (["--num-update-checkpoints", 5], "has only 4 such checkpoints; add"),
        (["--num-epoch-checkpoints", 0], "--num-epoch-checkpoints 0: give a number of at least 1."),
        (["--num-update-checkpoints", -1], "--num-update-checkpoints -1: give a number"),
        ([], "is a folder; give --num-epoch-checkpoints or --num-update-checkpoints"),
        (["--checkpoint-upper-bound", 3], "--checkpoint-upper-bound: give --num-epoch-checkpoints"),
        (["--or-fewer"], "--or-fewer: give --num-epoch-checkpoints"),
    ],
)
def test_refuses_selection(refusal, folder, words, sentence):
    assert sentence in refusal("--inputs", folder, *words)


def test_refuses_other_inputs(refusal, folder, tmp_path):
    file = folder / "checkpoint1.pt"
    assert f"{tmp_path / 'none.pt'} does not exist" in refusal("--inputs", file, tmp_path / "none.pt")
    assert "has to be one folder" in refusal("--inputs", file, "--num-epoch-checkpoints", 1)
    assert "named twice" in refusal("--inputs", file, folder / ".." / "checkpoints" / "checkpoint1.pt")


def test_refuses_output(refusal, folder, tmp_path):
    file = folder / "checkpoint1.pt"
    words = ("--inputs", folder, "--num-epoch-checkpoints", 5)
    os.symlink(file, tmp_path / "link.pt")
    assert "is one of the checkpoints" in refusal(*words, output=file)
    assert "is one of the checkpoints" in refusal(*words, output=tmp_path / "link.pt")
    for name in ("checkpoint_best.pt", "checkpoint_last.pt", "checkpoint.best_bleu_30.1234.pt"):
        sentence = refusal("--inputs", folder, "--num-epoch-checkpoints", 1, output=folder / name)
        assert "is a checkpoint of the training" in sentence
    assert "is a folder" in refusal(*words, output=folder)
    assert "does not exist" in refusal(*words, output=tmp_path / "none" / "average.pt")


def test_refuses_other_shape_name_or_type(refusal, tmp_path):
    first = write_checkpoint(tmp_path / "a.pt", {"kept": torch.ones(1), "layer.weight": torch.ones(2, 3)})
    for other in (torch.ones(3, 2), torch.ones(2, 3).half()):
        second = write_checkpoint(tmp_path / "b.pt", {"kept": torch.ones(1), "layer.weight": other})
        sentence = refusal("--inputs", first, second)
        for word in (first, second, "layer.weight", tuple(other.shape), other.dtype, (2, 3), torch.float32):
            assert str(word) in sentence
    second = write_checkpoint(tmp_path / "b.pt", {"kept": torch.ones(1)})
    assert f"{second} has no tensor layer.weight" in refusal("--inputs", first, second)
    assert f"{second} has no tensor layer.weight" in refusal("--inputs", second, first)


def test_refuses_damaged_file(refusal, tmp_path):
    good = write(tmp_path / "good.pt", 1)
    whole = good.read_bytes()
    bad = tmp_path / "bad.pt"
    for sentence, all_contents in (
        ("cannot be read", (b"", b"text", b"\x80\x02}q\x00.")),
        ("is damaged", (whole[:100], whole[: len(whole) // 2], whole[:-30])),
    ):
        for contents in all_contents:
            bad.write_bytes(contents)
            assert f"{bad} {sentence}" in refusal("--inputs", good, bad)


def test_refuses_file_without_a_model(refusal, tmp_path):
    path = tmp_path / "a.pt"
    for contents in (torch.ones(2), {"weight": torch.ones(2)}, {"model": {}}, {"model": {"weight": 1.0}}):
        torch.save(contents, path)
        assert f"{path} is no checkpoint of fairseq" in refusal("--inputs", path)


def test_leaves_nothing_behind_when_writing_fails(refusal, tmp_path, monkeypatch):
    path = write(tmp_path / "a.pt", 1)

    def full_disk(checkpoint, temporary):
        temporary.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    assert "cannot be written: No space left on device." in refusal("--inputs", path)


def test_payload_does_not_run(refusal, tmp_path):
    evidence = tmp_path / "evidence"
    path = write_checkpoint(tmp_path / "a.pt", {"weight": torch.ones(1)}, extra=Payload(evidence))
    sentence = refusal("--inputs", path)
    assert f"{path} carries posix.mkdir" in sentence
    assert not evidence.exists()


def test_as_a_command(folder, tmp_path):
    """From another folder, without the package on the path: progress on one stream, nothing on the other."""
    command = [sys.executable, str(SCRIPT), "--inputs", "checkpoints", "--output", "average.pt"]
    run = subprocess.run([*command, "--num-epoch-checkpoints", "2"], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0 and run.stderr == ""
    assert "[2/2] checkpoints/checkpoint11.pt" in run.stdout


def test_metadata_of_the_weights_are_kept(average, tmp_path):
    """A state dict carries metadata, such as the digests of its dictionaries; so does the average."""
    for number in (1, 2):
        weights = torch.nn.Linear(2, 3).state_dict()
        weights._metadata["dictionaries"] = {"source": "digest"}
        write_checkpoint(tmp_path / f"checkpoint{number}.pt", weights)
    checkpoint = average("--inputs", tmp_path, "--num-epoch-checkpoints", 2)
    assert checkpoint["model"]._metadata["dictionaries"] == {"source": "digest"}


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_training_that_diverged(refusal, tmp_path, number):
    """The mean would be no number either, and translate everything into the same words."""
    paths = [write(tmp_path / "a.pt", 1), write(tmp_path / "b.pt", number)]
    assert refusal("--inputs", *paths).endswith(
        "b.pt: the tensor weight holds NaN or infinity; the training diverged: take another."
    )


@pytest.mark.parametrize(
    ("cfg", "what"),
    [
        ({"checkpoint": {"save_dir": "other"}}, "save_dir was 'other', "),
        ({"common": argparse.Namespace(seed=2)}, "seed was 2, "),
        ({"task": {"source_lang": "nl"}}, "source_lang was 'nl', "),
        ({"model": {"arch": "a", "encoder_recursions": 3}}, "encoder_recursions was 3, "),
        ({"model": {"_name": "b", "encoder_recursions": 2}}, "architecture was 'b', "),
    ],
)
def test_two_trainings(average, refusal, tmp_path, cfg, what):
    """Models of equal shapes may come of different trainings; the options that a resumed one may change do not tell."""
    model = {"arch": "a", "encoder_recursions": 2}
    told = {"model": argparse.Namespace(**model), "common": {"seed": 1}, "checkpoint": {"save_dir": "run"}}
    told["task"] = {"source_lang": "de"}
    tensors = {"weight": torch.ones(1)}
    first, same, other = (tmp_path / name for name in ("first.pt", "same.pt", "other.pt"))
    write_checkpoint(first, tensors, cfg=told)
    write_checkpoint(same, tensors, cfg={**told, "model": model, "optimization": {"max_update": 9}})
    write_checkpoint(other, tensors, cfg={**told, **cfg})
    assert f"other.pt says that its {what}" in refusal("--inputs", first, other)
    average("--inputs", first, same)
    average("--inputs", first, other, "--force")


def test_checkpoints_of_old_versions(refusal, tmp_path):
    """Until 0.10 fairseq kept all options in one Namespace."""
    for seed in (1, 2):
        old = argparse.Namespace(seed=seed, arch="a")
        write_checkpoint(tmp_path / f"{seed}.pt", {"weight": torch.ones(1)}, cfg=None, args=old)
    assert "2.pt says that its seed was 2, " in refusal("--inputs", tmp_path / "1.pt", tmp_path / "2.pt")
