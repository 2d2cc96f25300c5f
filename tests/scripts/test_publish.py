"""scripts/publish.py makes a folder that translates by itself, or leaves the one that is there as it was."""

import json
import shutil
import sys
from types import SimpleNamespace

import pytest
import torch

import publish
import segment
from support.commands import refusal
from support.training import make_data, train, write_text


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A checkpoint of a toy language in SentencePiece's pieces, and what belongs to it."""
    folder = tmp_path_factory.mktemp("publish")
    for name, pairs in (("train", 60), ("valid", 12), ("test", 12)):
        write_text(folder, name, pairs)
    words = ["--corpus", folder, "--languages", "xx", "yy", "--vocabulary", 40, "--out", folder / "pieces"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["segment", *map(str, words)])
        segment.main()
    prefixes = [
        str(word) for name in ("train", "valid", "test") for word in (f"--{name}pref", folder / "pieces" / name)
    ]
    data = make_data(folder, *prefixes)
    train(data, folder / "run", "--max-update 30 --lr 0.02 --tensorboard-logdir /somewhere/else")
    return SimpleNamespace(
        checkpoint=folder / "run" / "checkpoint_last.pt",
        data=data,
        pieces=folder / "pieces" / "sentencepiece.model",
        reference=folder / "test.yy",
    )


def words(trained, out, **changed):
    """The arguments of the command."""
    chosen = {**vars(trained), **changed}
    options = ["--sentencepiece", chosen["pieces"], "--reference", chosen["reference"], "--out", out]
    return [chosen["checkpoint"], chosen["data"], *options]


def call(monkeypatch, arguments):
    """Run the command, where it has to succeed."""
    monkeypatch.setattr(sys, "argv", ["publish.py", *map(str, arguments)])
    publish.main()


@pytest.mark.slow
def test_a_folder_that_translates_by_itself(trained, tmp_path, monkeypatch):
    out = tmp_path / "model"
    out.mkdir()
    (out / "README.md").write_text("# Mine\n" + "\n".join(publish.MARKS) + "\nby hand\n")
    for _ in range(2):  # the second time it renews it
        call(monkeypatch, words(trained, out))
    assert sorted(path.name for path in out.iterdir()) == [
        *("README.md", "dict.xx.txt", "dict.yy.txt", "model.pt", "scores.json", "sentencepiece.model")
    ]
    told = json.loads((out / "scores.json").read_text())
    assert told["updates"] == 30 and told["sentences"] == 12 and set(told["scores"]) == {"sacreBLEU", "chrF"}
    card = (out / "README.md").read_text()
    assert card.startswith("# Mine\n") and card.endswith("\nby hand\n") and card.count("updates of the training") == 1
    assert f"**{told['scores']['chrF']['score']:.1f}**" in card

    whole, small = (torch.load(path, weights_only=True) for path in (trained.checkpoint, out / "model.pt"))
    assert "last_optimizer_state" in whole and "last_optimizer_state" not in small and small["extra_state"] == {}
    assert whole["cfg"]["common"]["tensorboard_logdir"] == "/somewhere/else"
    assert small["cfg"]["common"]["tensorboard_logdir"] == "else"
    assert "/" not in small["cfg"]["model"].save_dir
    for name, tensor in whole["model"].items():
        assert torch.equal(small["model"][name], tensor.half() if tensor.is_floating_point() else tensor)
    assert small["model"]._metadata == whole["model"]._metadata
    assert (out / "model.pt").stat().st_size < 0.4 * trained.checkpoint.stat().st_size


def test_shared_tensors_stay_shared(tmp_path):
    weight = torch.ones(100)
    model = {"one": weight, "other": weight, "number": torch.ones(1, dtype=torch.long)}
    publish.in_16_bits(model, tmp_path)
    assert model["one"].data_ptr() == model["other"].data_ptr() and model["one"].dtype == torch.float16
    assert model["number"].dtype == torch.long


@pytest.mark.parametrize("number, part", [(float("nan"), "NaN"), (1e5, "beyond 65,504")])
def test_numbers_that_16_bits_cannot_hold(number, part, tmp_path):
    with pytest.raises(SystemExit, match=part):
        publish.in_16_bits({"weight": torch.full((2,), number)}, tmp_path / "checkpoint.pt")


@pytest.mark.slow
def test_what_cannot_be_published_changes_nothing(trained, tmp_path):
    out = tmp_path / "model"
    out.mkdir()
    (out / "README.md").write_text("# Mine, without marks\n")
    assert "lacks the lines" in refusal(publish.main, *words(trained, out))
    (out / "README.md").write_text("\n".join(publish.MARKS))
    assert "--sentencepiece: there is no file" in refusal(publish.main, *words(trained, out, pieces=tmp_path / "no"))
    assert "--reference: there is no file" in refusal(publish.main, *words(trained, out, reference=tmp_path / "no.yy"))
    assert "damaged or no checkpoint" in refusal(publish.main, *words(trained, out, checkpoint=trained.pieces))
    assert "dict.*.txt" in refusal(publish.main, *words(trained, out, data=tmp_path))
    shutil.copy(trained.reference, tmp_path / "longer.yy")
    with open(tmp_path / "longer.yy", "a") as file:
        file.write("Z\n")
    assert "holds 12 of the 13" in refusal(publish.main, *words(trained, out, reference=tmp_path / "longer.yy"))
    assert [path.name for path in out.iterdir()] == ["README.md"]
    assert (out / "README.md").read_text() == "\n".join(publish.MARKS)
