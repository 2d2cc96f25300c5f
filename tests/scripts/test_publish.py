"""scripts/publish.py makes a folder that translates by itself, or leaves the one that is there as it was."""

import json
import shutil
import sys
from types import SimpleNamespace

import pytest
import torch

import publish
import segment
from common import files
from support.commands import refusal
from support.training import MODEL, make_data, train, write_text


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


def fairseq_checkpoint(data, folder):
    """One of fairseq's transformer."""
    train(
        data,
        folder,
        "--max-update 2",
        model=MODEL.replace("sret_transformer", "transformer").partition("--encoder-sl")[0],
    )
    return folder / "checkpoint_last.pt"


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
    out, published = tmp_path / "model", files.REPOSITORY / "examples/pretrained/tatoeba_de_en/sentencepiece.model"
    out.mkdir()
    (out / "README.md").write_text("# Mine, without marks\n")
    assert "lacks the lines" in refusal(publish.main, *words(trained, out))
    (out / "README.md").write_text("\n".join(publish.MARKS))
    assert "--sentencepiece: there is no file" in refusal(publish.main, *words(trained, out, pieces=tmp_path / "no"))
    assert "--reference: there is no file" in refusal(publish.main, *words(trained, out, reference=tmp_path / "no.yy"))
    assert "damaged or no checkpoint" in refusal(publish.main, *words(trained, out, checkpoint=trained.pieces))
    assert f"{tmp_path} is no folder with dict.*.txt" in refusal(publish.main, *words(trained, out, data=tmp_path))
    shutil.copy(trained.reference, tmp_path / "test.xx")
    said = refusal(publish.main, *words(trained, out, reference=tmp_path / "test.xx"))
    assert said.startswith(
        f"--reference: {tmp_path}/test.xx is not named after the language of the translations, as te"
    )
    shutil.copy(trained.reference, tmp_path / "longer.yy")
    with open(tmp_path / "longer.yy", "a") as file:
        file.write("Z\n")
    said = refusal(publish.main, *words(trained, out, reference=tmp_path / "longer.yy"))
    assert said.startswith(
        f"--reference: {tmp_path}/longer.yy has 13 lines, and the test set of {trained.data} 12 sent"
    )
    (tmp_path / "empty").touch()
    for path, part in ((tmp_path / "empty", "is no SentencePiece model"), (published, "is of another text")):
        said = refusal(publish.main, *words(trained, out, pieces=path))
        assert said.startswith(f"--sentencepiece: {path} ") and part in said
    said = refusal(publish.main, *words(trained, out, checkpoint=fairseq_checkpoint(trained.data, tmp_path / "run")))
    assert "checkpoint_last.pt holds a TransformerModel; give a checkpoint of sret_transformer." in said
    assert [path.name for path in out.iterdir()] == ["README.md"]
    assert (out / "README.md").read_text() == "\n".join(publish.MARKS)
    refusal(publish.main, *words(trained, tmp_path / "none", data=tmp_path))
    assert not (tmp_path / "none").exists()


@pytest.mark.slow
def test_what_is_read_is_not_overwritten(trained, tmp_path):
    """A checkpoint in the folder under the name of the published one, and a reference under that of the scores."""
    for name, key in (("model.pt", "checkpoint"), ("scores.json", "reference"), ("dict.xx.txt", "pieces")):
        shutil.copy(getattr(trained, key), tmp_path / name)
        before = (tmp_path / name).read_bytes()
        said = refusal(publish.main, *words(trained, tmp_path, **{key: tmp_path / name}))
        assert said == f"--out: {tmp_path / name} is read, and would be overwritten; name another folder."
        assert (tmp_path / name).read_bytes() == before


def test_a_failing_fairseq_leaves_its_log(tmp_path):
    """Where the sentence says that it is."""
    out = tmp_path / "model"
    (tmp_path / "test.yy").write_text("Z\n")
    with files.results_folder(out):
        said = refusal(
            lambda: publish.measure(tmp_path / "new", tmp_path / "none", tmp_path / "test.yy", out / "test.log")
        )
    assert said.endswith(f"see the end of {out}/test.log.failed.") and (out / "test.log.failed").exists()
