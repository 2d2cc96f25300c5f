"""What overrides a checkpoint's options exists, and a translation goes the way of the training."""

import logging
from pathlib import Path

import pytest
import torch
from fairseq import checkpoint_utils

from sret_fairseq.errors import OptionError
from sret_fairseq.model import SretTransformerModel
from sret_fairseq.patches.checkpoints import CheckpointError
from support.commands import fairseq
from support.training import MODEL, make_data, train


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """A corpus whose languages share a dictionary."""
    return make_data(tmp_path_factory.mktemp("reading"), "--joined-dictionary")


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory) -> Path:
    """A checkpoint of one update."""
    folder = tmp_path_factory.mktemp("trained")
    train(data, folder, "--max-update 1")
    return folder / "checkpoint_last.pt"


@pytest.fixture(scope="module", params=["stored", "found"])
def knowing(request, data, trained, tmp_path_factory) -> Path:
    """The same, with the languages in its options, or found in the data folder."""
    if request.param == "found":
        return trained
    folder = tmp_path_factory.mktemp("trained")
    train(data, folder, "--max-update 1 --source-lang xx --target-lang yy")
    state = torch.load(folder / "checkpoint_last.pt")
    state["model"] = dict(state["model"])  # without metadata, as of another architecture
    torch.save(state, folder / "checkpoint_last.pt")
    return folder / "checkpoint_last.pt"


def generate(data, path, *words):
    """Run fairseq-generate: its status and what it says."""
    return fairseq("generate", data, "--user-dir", "sret_fairseq", "--cpu", "--path", path, *words)


@pytest.mark.parametrize(
    "name, nearest",
    [("encoder_recursion", "encoder_recursions"), ("decoder_slice", "decoder_slices"), ("nll_ration", "nll_ratio")],
)
def test_an_override_of_an_option_that_does_not_exist(name, nearest, trained, data):
    """One could publish numbers of one pass that were those of all."""
    status, said = generate(data, trained, "--model-overrides", f"{{'{name}': 1}}")
    assert status == 1 and f"{trained}: there is no option {name} to override; did you mean {nearest}?" in said
    with pytest.raises(OptionError, match=f"no option {name}"):
        SretTransformerModel.from_pretrained(trained.parent, trained.name, str(data), **{name: 1})
    with pytest.raises(OptionError, match=f"no option {name}"):
        checkpoint_utils.load_model_ensemble([str(trained)], {"model": {name: 1}})


def test_overrides_that_exist(trained, data):
    """Of the model, of fairseq's other parts, of the hub, and those that only this project's checkpoints have."""
    given = {
        "encoder_recursions": 3,
        "allow_untrained_passes": True,
        "data": str(data),
        "eval_bleu": False,
        "beam": 2,
        "bpe": "sentencepiece",
        "sentencepiece_model": "none",
        "user_dir": "sret_fairseq",
        "generation_args": None,
        "no_repeat_ngram_size": 2,
    }
    (model,), _ = checkpoint_utils.load_model_ensemble([str(trained)], given)
    assert model.encoder.passes == 3


def test_the_wrong_way_round(knowing, data):
    """With one dictionary for both languages everything fits."""
    status, said = generate(data, knowing, "--source-lang", "yy", "--target-lang", "xx")
    assert status == 1 and f"{knowing} translates from xx to yy; turn --source-lang and --target-lang around" in said
    with pytest.raises(OptionError, match="translates from xx to yy"):
        SretTransformerModel.from_pretrained(
            knowing.parent, knowing.name, str(data), source_lang="yy", target_lang="xx"
        )
    assert generate(data, knowing, "--source-lang", "xx", "--target-lang", "yy")[0] == 0


def test_other_names_of_the_languages_are_allowed(knowing, data, tmp_path, caplog):
    """And a warning names both."""
    for old, new in (("xx", "deu"), ("yy", "eng")):
        (tmp_path / f"dict.{new}.txt").write_text((data / f"dict.{old}.txt").read_text())
    with caplog.at_level(logging.WARNING):
        SretTransformerModel.from_pretrained(
            knowing.parent, knowing.name, str(tmp_path), source_lang="deu", target_lang="eng"
        )
    assert "was trained to translate from xx to yy, not deu to eng" in caplog.text


def test_weights_for_another_model_end_a_training_in_a_sentence(trained, data, tmp_path):
    """Resumed with other options than it was begun with."""
    words = f"{MODEL} --decoder-layers 1 --optimizer adam --lr 0.1 --max-tokens 100 --num-workers 0 --cpu".split()
    status, said = fairseq(
        "train", data, "--user-dir", "sret_fairseq", *words, "--save-dir", tmp_path, "--restore-file", trained
    )
    assert status == 1 and f"{trained} does not fit the model of these options: RuntimeError: Error" in said
    assert "Give those of its training, or another --save-dir." in said
    assert "Traceback" not in said


def test_a_missing_checkpoint(data, tmp_path):
    with pytest.raises(CheckpointError, match=r"none\.pt cannot be loaded: OSError: Model file not found"):
        checkpoint_utils.load_model_ensemble([str(tmp_path / "none.pt")])


def test_weights_are_as_they_were(trained, data):
    """The gate changes nothing of what is read."""
    (model,), _ = checkpoint_utils.load_model_ensemble([str(trained)], {"data": str(data)})
    stored = torch.load(trained)["model"]
    assert all(torch.equal(tensor, stored[name]) for name, tensor in model.state_dict().items())
