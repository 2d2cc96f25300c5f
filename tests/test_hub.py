"""hubconf.py: a trained model through torch.hub, and what it says when something is missing."""

import os

import pytest
import torch

from support.models import REPOSITORY, python

SIZES = (
    "--encoder-embed-dim 8 --decoder-embed-dim 8 --encoder-ffn-embed-dim 12 --decoder-ffn-embed-dim 12 "
    "--encoder-layers 1 --decoder-layers 1"
)


def load(**options):
    """The translator, by the call that the documentation names."""
    return torch.hub.load(str(REPOSITORY), "sret_transformer", source="local", **options)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The paths of a checkpoint and its data folder, made by the commands."""
    folder = tmp_path_factory.mktemp("hub")
    for suffix, line in (("xx", "one two three\nfour\n"), ("yy", "drei zwei eins\nvier\n")):
        (folder / f"text.{suffix}").write_text(line * 5)
    data, text = folder / "data-bin", folder / "text"
    words = ("-s", "xx", "-t", "yy", "--trainpref", text, "--validpref", text)
    python("-m", "fairseq_cli.preprocess", *words, "--destdir", data)
    settings = "--optimizer adam --lr 0.01 --max-tokens 100 --max-update 3 --num-workers 0 --cpu --disable-validation"
    model = ("--user-dir", "sret_fairseq", "--arch", "sret_transformer_tiny", *SIZES.split())
    python("-m", "fairseq_cli.train", data, *model, *settings.split(), "--save-dir", folder)
    return folder / "checkpoint_last.pt", data


@pytest.mark.slow
def test_translates(trained, monkeypatch):
    """Relative paths, a list of sentences, an ensemble, and options that reach fairseq."""
    checkpoint, data = trained
    monkeypatch.chdir(data.parent)
    translator = load(checkpoint=checkpoint.name, data="./data-bin", bpe="characters", max_len_a=0, max_len_b=4)
    translations = translator.translate(["one two", "four"], beam=2)
    assert len(translations) == 2 and all(isinstance(text, str) for text in translations)
    assert translator.bpe is not None and translator.cfg.generation.max_len_b == 4
    two = load(checkpoint=f"{checkpoint}{os.pathsep}{checkpoint}", data=str(data))
    assert len(two.models) == 2
    assert type(two.models[0]).__name__ == "SretTransformerModel"


def test_missing_files(tmp_path):
    """One sentence that names the argument and the path."""
    checkpoint = tmp_path / "model.pt"
    with pytest.raises(FileNotFoundError, match=r"checkpoint: there is no file .*model\.pt"):
        load(checkpoint=checkpoint, data=tmp_path)
    checkpoint.touch()
    with pytest.raises(FileNotFoundError, match=r"data: .*nowhere is no folder with dict"):
        load(checkpoint=checkpoint, data=tmp_path / "nowhere")


def test_beam_belongs_to_translate(tmp_path):
    """fairseq would ignore it without a word."""
    with pytest.raises(TypeError, match="translate"):
        load(checkpoint=tmp_path / "model.pt", data=tmp_path, beam=3)
