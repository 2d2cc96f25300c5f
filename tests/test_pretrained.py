"""The model of examples/pretrained: its quality, that all ways of loading it agree, and that its card is true."""

import argparse
import copy
import math
import re
import shlex
import shutil

import pytest
import sacrebleu
import torch
from fairseq import options

from support.models import REPOSITORY

FOLDER = REPOSITORY / "examples" / "pretrained" / "tatoeba_de_en"
MOST_BYTES = 6 * 2**20
# Invented for this test, so that they are in no corpus.
PAIRS = [
    ("Wo ist der Bahnhof?", "Where is the train station?"),
    ("Entschuldigung, wie komme ich zum Flughafen?", "Excuse me, how do I get to the airport?"),
    ("Meine Schwester wohnt seit drei Jahren in Berlin.", "My sister has lived in Berlin for three years."),
    ("Kannst du mir bitte helfen, den Tisch zu tragen?", "Can you please help me carry the table?"),
    ("Wenn es morgen regnet, bleiben wir zu Hause.", "If it rains tomorrow, we'll stay at home."),
    ("Er hat gestern seinen Schlüssel im Auto vergessen.", "He forgot his key in the car yesterday."),
    ("Ich muss heute Abend noch meine Hausaufgaben machen.", "I still have to do my homework tonight."),
    ("Wie viel kostet dieses Buch?", "How much does this book cost?"),
    ("Sie trinkt jeden Morgen zwei Tassen Kaffee.", "She drinks two cups of coffee every morning."),
    ("Ich weiß nicht, warum er so wütend auf mich ist.", "I don't know why he is so angry with me."),
    ("Der Hund schläft unter dem Tisch.", "The dog is sleeping under the table."),
    ("Hast du das Fenster in der Küche geschlossen?", "Did you close the window in the kitchen?"),
    ("Mein Vater arbeitet in einem Krankenhaus.", "My father works in a hospital."),
    ("Das Wasser ist zu kalt, um zu schwimmen.", "The water is too cold to swim."),
    ("Ihr Bruder spricht besser Französisch als sie.", "Her brother speaks better French than she does."),
    ("Warum hast du mir nicht die Wahrheit gesagt?", "Why didn't you tell me the truth?"),
    ("Die Kinder spielen mit ihren Freunden im Garten.", "The children are playing in the garden with their friends."),
    ("Ich hätte gern ein Glas Wasser und eine Tasse Tee.", "I would like a glass of water and a cup of tea."),
    ("Der Zug kam um acht Uhr am Abend an.", "The train arrived at eight o'clock in the evening."),
    ("Vergiss nicht, die Tür zu schließen, wenn du gehst.", "Don't forget to close the door when you leave."),
]
SOURCES, REFERENCES = map(list, zip(*PAIRS))
# Bounds derived from the published model, which has 72.1 and 0.483: its BLEU less 5, its bits and 0.01. BLEU of twenty
# sentences sees what breaks a model, and the likelihood of the references what makes it a little worse.
LEAST_BLEU, MOST_BITS = 67.1, 0.493
# Options of the training that say where and how it ran, and not what came out; the last follows from another.
OF_THE_RUN = set(
    "save_dir user_dir cpu num_workers log_format log_interval no_epoch_checkpoints save_interval_updates "
    "keep_interval_updates validate_interval_updates plasma_path data source_lang target_lang "
    "share_decoder_input_output_embed".split()
)


def load(**overrides):
    """The model by its name."""
    return torch.hub.load(str(REPOSITORY), "sret_tatoeba_de_en", source="local", **overrides)


@pytest.fixture(scope="module")
def checkpoint():
    """What model.pt holds."""
    return torch.load(FOLDER / "model.pt", weights_only=True)


def load_damaged(checkpoint, folder, damaged: str):
    """The model with zeros for the tensors in whose names a text occurs."""
    shutil.copytree(FOLDER, folder, dirs_exist_ok=True)
    model = copy.copy(checkpoint["model"])  # with its metadata
    names = [name for name in model if damaged in name]
    assert names
    model.update({name: torch.zeros_like(model[name]) for name in names})
    torch.save({**checkpoint, "model": model}, folder / "model.pt")
    paths = {"checkpoint": folder / "model.pt", "data": folder}
    pieces = {"bpe": "sentencepiece", "sentencepiece_model": str(folder / "sentencepiece.model")}
    return torch.hub.load(str(REPOSITORY), "sret_transformer", source="local", **paths, **pieces)


def bleu(translator) -> float:
    """BLEU of the translations of the invented sentences."""
    return sacrebleu.corpus_bleu(translator.translate(SOURCES, beam=5), [REFERENCES]).score


def bits(translator) -> float:
    """Bits that a token of their references costs the model."""
    total = tokens = 0
    for source, reference in zip(map(translator.encode, SOURCES), map(translator.encode, REFERENCES)):
        previous = reference.roll(1)  # the end of a sentence stands before its first token
        with torch.no_grad():
            logits, _ = translator.models[0](source[None], torch.tensor([len(source)]), previous[None])
        total += torch.nn.functional.cross_entropy(logits[0], reference, reduction="sum").item()
        tokens += len(reference)
    return total / tokens / math.log(2)


def test_it_translates():
    assert bleu(load()) >= LEAST_BLEU


def test_it_finds_the_references_likely():
    assert bits(load()) <= MOST_BITS


def test_a_broken_model_does_not_reach_the_bleu(checkpoint, tmp_path):
    assert bleu(load_damaged(checkpoint, tmp_path, ".coefficients.residual")) < LEAST_BLEU


@pytest.mark.parametrize(
    "damaged", ["decoder.layers.1.blocks.0.self_attn.out_proj", "decoder.layers.0.blocks.0.ffn.fc2"]
)
def test_a_model_without_one_sublayer_does_not_reach_the_likelihood(damaged, checkpoint, tmp_path):
    assert bits(load_damaged(checkpoint, tmp_path, damaged)) > MOST_BITS


@pytest.mark.parametrize("overrides", [{"encoder_recursions": 1, "decoder_recursions": 1}, {"encoder_slices": "2"}])
def test_a_model_that_computes_something_else_does_not_reach_the_likelihood(overrides):
    assert bits(load(**overrides)) > MOST_BITS


def test_the_bundle_translates_as_the_hub_does(tmp_path):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from sret_fairseq.export import bundle
    from sret_translate import Translator

    text = bundle.Text(FOLDER / "sentencepiece.model")
    bundle.export(str(FOLDER / "model.pt"), str(FOLDER), str(tmp_path / "bundle"), text)
    ours = Translator(str(tmp_path / "bundle")).translate(SOURCES, beam=5)
    assert ours == load().translate(SOURCES, beam=5)


def strings(value):
    """All text in options."""
    if isinstance(value, (dict, argparse.Namespace)):
        for item in (value if isinstance(value, dict) else vars(value)).values():
            yield from strings(item)
    elif isinstance(value, str):
        yield value


def test_the_folder_holds_what_is_needed_and_no_more(checkpoint):
    files = {path.name: path.stat().st_size for path in FOLDER.iterdir()}
    assert sorted(files) == "README.md dict.de.txt dict.en.txt model.pt scores.json sentencepiece.model".split()
    assert sum(files.values()) <= MOST_BYTES
    assert "last_optimizer_state" not in checkpoint
    assert {tensor.dtype for tensor in checkpoint["model"].values() if tensor.is_floating_point()} == {torch.float16}
    assert not [text for text in strings(checkpoint["cfg"]) if "/" in text]


def test_the_card_has_the_command_that_trained_the_model(checkpoint):
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    command = re.search(r"^fairseq-train (.*?[^\\])\n", card, re.MULTILINE | re.DOTALL)[1]
    parsed = options.parse_args_and_arch(options.get_training_parser(), shlex.split(command.replace("\\\n", " ")))
    trained, told = vars(checkpoint["cfg"]["model"]), vars(parsed)
    assert trained.keys() - told.keys() <= {"_name", "max_source_positions", "max_target_positions"}
    different = {name for name, value in told.items() if trained.get(name) != value} - OF_THE_RUN
    assert not different, {name: (trained.get(name), told[name]) for name in different}
