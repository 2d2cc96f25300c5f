"""A trained model in Python: through hubconf.py and ``from_pretrained``, and what is said when something is missing."""

import os
import shutil
from types import SimpleNamespace

import pytest
import sentencepiece
import torch

from sret_fairseq.model import SretTransformerModel
from support.decoding import assert_scored_by_full_pass
from support.models import REPOSITORY, pad
from support.training import train

LENGTHS = {"max_len_a": 1, "max_len_b": 3}


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory) -> SimpleNamespace:
    """The paths of a checkpoint and its data folder, and the model as ``from_pretrained`` returns it."""
    folder = tmp_path_factory.mktemp("hub")
    train(data, folder, "--max-update 20")
    hub = SretTransformerModel.from_pretrained(str(folder), "checkpoint_last.pt", data_name_or_path=str(data))
    return SimpleNamespace(checkpoint=folder / "checkpoint_last.pt", data=data, hub=hub)


def load(**options):
    """The translator, by the call that the documentation names."""
    return torch.hub.load(str(REPOSITORY), "sret_transformer", source="local", **options)


def test_translator_of_torch_hub(trained, monkeypatch):
    """Relative paths, a list of sentences, an ensemble, and options that reach fairseq."""
    monkeypatch.chdir(trained.data.parent)
    checkpoint = os.path.relpath(trained.checkpoint)
    translator = load(checkpoint=checkpoint, data="./data-bin", bpe="characters", max_len_a=0, max_len_b=4)
    translations = translator.translate(["a b", "c"], beam=2)
    assert len(translations) == 2 and all(isinstance(text, str) for text in translations)
    assert translator.bpe is not None and translator.cfg.generation.max_len_b == 4
    two = load(checkpoint=f"{checkpoint}{os.pathsep}{checkpoint}", data=str(trained.data))
    assert [type(model) for model in two.models] == [SretTransformerModel] * 2


@pytest.mark.parametrize("stored", [True, False])
def test_two_dictionaries_are_enough(trained, tmp_path, stored):
    """Without a text whose name tells the languages: the weights know them, or the digests of the dictionaries do."""
    (tmp_path / "data").mkdir()
    for language in ("xx", "yy"):
        shutil.copy(trained.data / f"dict.{language}.txt", tmp_path / "data")
    state = torch.load(trained.checkpoint)
    assert state["cfg"]["task"]["source_lang"] is None
    assert state["model"]._metadata[""]["languages"] == ["xx", "yy"]
    if not stored:
        del state["model"]._metadata[""]["languages"]
    torch.save(state, tmp_path / "model.pt")
    translator = load(checkpoint=tmp_path / "model.pt", data=tmp_path / "data")
    assert translator.translate("a b c", **LENGTHS) == trained.hub.translate("a b c", **LENGTHS)
    assert len(translator.task.source_dictionary) == len(trained.hub.task.source_dictionary)


def test_missing_files(tmp_path):
    """One sentence that names the argument and the path."""
    checkpoint = tmp_path / "model.pt"
    with pytest.raises(FileNotFoundError, match=r"checkpoint: there is no file .*model\.pt"):
        load(checkpoint=checkpoint, data=tmp_path)
    checkpoint.touch()
    with pytest.raises(FileNotFoundError, match=r"data: .*nowhere is no folder with dict"):
        load(checkpoint=checkpoint, data=tmp_path / "nowhere")


def test_pieces_of_another_text(trained, tmp_path):
    """They would be translated into nonsense."""
    options = {"checkpoint": trained.checkpoint, "data": trained.data, "bpe": "sentencepiece"}
    with pytest.raises(FileNotFoundError, match="sentencepiece_model: there is no file None"):
        load(**options)
    other = tmp_path / "other.model"
    with open(other, "wb") as file:
        settings = {"vocab_size": 9, "hard_vocab_limit": False, "minloglevel": 2}
        sentences = iter(["zz yy", "yz"] * 9)
        sentencepiece.SentencePieceTrainer.train(sentence_iterator=sentences, model_writer=file, **settings)
    with pytest.raises(ValueError, match="is of another text than the source dictionary"):
        load(**options, sentencepiece_model=str(other))


def test_beam_belongs_to_translate(tmp_path):
    """fairseq would ignore it without a word."""
    with pytest.raises(TypeError, match="translate"):
        load(checkpoint=tmp_path / "model.pt", data=tmp_path, beam=3)


def test_translate(trained):
    """``translate`` gives the words of beam search, for one sentence and for several, alone or together."""
    lines, hub = ["a b c", "d", "k j i h g f e"], trained.hub
    together = hub.translate(lines, **LENGTHS)
    assert together == [hub.translate(line, **LENGTHS) for line in lines]
    found = hub.generate([hub.encode(line) for line in lines], **LENGTHS)
    assert together == [hub.decode(hypotheses[0]["tokens"]) for hypotheses in found]
    assert_scored_by_full_pass(list(hub.models), pad([hub.encode(line) for line in lines]), found)


def test_sample(trained):
    """``sample`` draws by torch's seed."""
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(trained.hub.sample(["a b c d e f"] * 4, beam=1, sampling=True, **LENGTHS))
    assert drawn[0] == drawn[1] != drawn[2]


def test_alignment(trained):
    """``generate`` returns the alignment of each word."""
    hub = trained.hub
    ((best, *_),) = hub.generate([hub.encode("a b c d")], print_alignment="hard", **LENGTHS)
    assert [int(word) for _, word in best["alignment"]] == list(range(len(best["tokens"]) - 1))


def test_score_has_no_target(trained):
    """``score`` is for language models: fairseq gives it no target sentence, neither here nor for its transformer."""
    with pytest.raises((KeyError, TypeError, AttributeError)):
        trained.hub.score(["a b c"])
