"""No checkpoint runs code, by whatever path it is read; contents that do not fit are refused in a sentence."""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from fairseq import checkpoint_utils
from fairseq.models.transformer import TransformerModel

import average_checkpoints
import convert_transformer_checkpoint
import depth_report
import export_onnx
import hubconf
import plot_activations
import plot_coefficients
import plot_landscape
import publish
from recipe import record
from sret_fairseq.criterions.teacher import Teacher
from sret_fairseq.export import bundle
from sret_fairseq.patches import checkpoints
from sret_fairseq.patches.checkpoints import CheckpointError, calls, read
from sret_translate import translate
from support.checkpoints import write_checkpoint
from support.commands import fairseq, refusal
from support.corpora import make_corpus
from support.models import REPOSITORY
from support.teachers import make_task
from support.training import MODEL, make_data, train

OPTION = "adaptive_softmax_cutoff"  # which fairseq evaluates as it builds a model


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return make_data(tmp_path_factory.mktemp("gate"))


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory) -> Path:
    """A checkpoint of one update."""
    folder = tmp_path_factory.mktemp("trained")
    train(data, folder, "--max-update 1")
    return folder / "checkpoint_last.pt"


def changed(path: Path, output: Path, change) -> Path:
    """A checkpoint in which something was changed."""
    state = torch.load(path)
    change(state)
    torch.save(state, output)
    return output


@pytest.fixture
def evidence(tmp_path) -> Path:
    """A folder that is made if the checkpoint's text is run."""
    return tmp_path / "evidence"


@pytest.fixture
def evil(trained, tmp_path, evidence) -> Path:
    """A checkpoint of harmless data, of which fairseq would run one text."""
    code = f"__import__('os').mkdir({str(evidence)!r})"
    (tmp_path / "run").mkdir()
    return changed(
        trained, tmp_path / "run" / "checkpoint1.pt", lambda state: setattr(state["cfg"]["model"], OPTION, code)
    )


def harmless(evil: Path) -> Path:
    """A sound checkpoint outside the folder of the evil one, such as the first of an ensemble."""
    return changed(evil, evil.parent.parent / "sound.pt", lambda state: delattr(state["cfg"]["model"], OPTION))


def command(name: str, *words):
    """A way of reading: a command of fairseq's; what it says."""
    return lambda evil, data: fairseq(name, data, "--user-dir", "sret_fairseq", "--cpu", *words, "--path", evil)[1]


def ensemble(evil: Path, data: Path) -> str:
    """Another: several checkpoints at once, of which the second is evil."""
    both = f"{harmless(evil)}:{evil}"
    return fairseq("generate", data, "--user-dir", "sret_fairseq", "--cpu", "--path", both)[1]


def training(option: str):
    """Another: a training that starts from the checkpoint."""

    def run(evil, data):
        words = f"{MODEL} --optimizer adam --lr 0.1 --max-tokens 100 --num-workers 0 --max-update 2 --cpu".split()
        save_dir = ("--save-dir", evil.parent / "saved")
        return fairseq("train", data, "--user-dir", "sret_fairseq", *words, *save_dir, option, evil)[1]

    return run


def paths_in(words, evil: Path, data: Path) -> list:
    """Arguments, with EVIL, RUN (its folder), DATA and OUT for paths."""
    paths = {"EVIL": evil, "RUN": evil.parent, "DATA": data, "OUT": evil.parent / "out"}
    return [paths.get(word, word) for word in words]


def script(module, *words):
    """Another: a script in Python; words are its arguments, see ``paths_in``."""
    return lambda evil, data: refusal(module.main, *paths_in(words, evil, data))


def bash(name: str, *words):
    """Another: a script in Bash, with what its children say."""

    def run(evil, data):
        environment = {**os.environ, "VENV": sys.prefix, "OMP_NUM_THREADS": "1"}
        line = ["bash", REPOSITORY / name, *paths_in(words, evil, data)]
        done = subprocess.run(line, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert done.returncode == 1, done.stdout
        return done.stdout

    return run


def evaluation(evil: Path, data: Path) -> str:
    """Another: evaluate.sh, on a corpus as prepare.sh leaves it."""
    shutil.copy(harmless(evil), evil.parent / "checkpoint_last.pt")
    corpus = make_corpus(evil.parent.parent / "corpus")
    return bash("examples/iwslt14_de_en/evaluate.sh", "RUN", "--data", corpus, "--out", "OUT")(evil, data)


def repair(evil: Path, data: Path) -> str:
    """Another: a start of train.sh whose last checkpoint is damaged, and another one is not sound."""
    last = evil.parent / "checkpoint_last.pt"
    last.write_bytes(b"damaged")
    with pytest.raises(SystemExit, match=f"{last} cannot be read"):
        record.repair(evil.parent)
    assert last.read_bytes() == b"damaged"
    evil.replace(last)
    with pytest.raises(SystemExit) as error:
        record.repair(evil.parent)
    return str(error.value).replace(str(last), str(evil))


def call(function):
    """Another: from Python."""

    def run(evil, data):
        with pytest.raises(SystemExit) as error:
            function(evil, data)
        return str(error.value)

    return run


WAYS = {
    "generate": command("generate"),
    "interactive": command("interactive", "--source-lang", "xx", "--target-lang", "yy"),
    "validate": command("validate", "--task", "translation", "--valid-subset", "valid", "--max-tokens", "100"),
    "resume": training("--restore-file"),
    "finetune": training("--finetune-from-model"),
    "load": call(lambda evil, data: checkpoint_utils.load_model_ensemble([str(evil)])),
    "ensemble": ensemble,
    "hub": call(hubconf.sret_transformer),
    "from_pretrained": call(lambda evil, data: TransformerModel.from_pretrained(evil.parent, evil.name, str(data))),
    "teacher": call(lambda evil, data: Teacher([str(evil)], make_task())),
    "export": call(lambda evil, data: bundle.export(str(evil), str(data), str(evil.parent / "out"))),
    "export_onnx": script(export_onnx, "EVIL", "DATA", "--out", "OUT"),
    "sret-translate": script(translate, "EVIL", "--data", "DATA"),
    "average": script(average_checkpoints, "--inputs", "EVIL", "--output", "OUT"),
    "convert": script(convert_transformer_checkpoint, "--input", "EVIL", "--output", "OUT"),
    "plot_coefficients": script(plot_coefficients, "RUN", "--out", "OUT"),
    "plot_activations": script(plot_activations, "EVIL", "DATA", "--out", "OUT"),
    "plot_landscape": script(plot_landscape, "EVIL", "DATA", "--out", "OUT"),
    "depth_report": script(depth_report, "EVIL", "DATA", "--out", "OUT"),
    "publish": script(publish, "EVIL", "DATA", "--sentencepiece", "EVIL", "--reference", "EVIL", "--out", "OUT"),
    "repair": repair,
    "evaluate": evaluation,
    "sequence_distillation": bash("scripts/sequence_distillation.sh", "EVIL", "DATA", "--out", "OUT", "--", "--cpu"),
}
IN_PROCESSES = ("evaluate", "sequence_distillation")  # of their own, each of which imports torch


@pytest.mark.parametrize(
    "way", [pytest.param(way, marks=[pytest.mark.slow] if way in IN_PROCESSES else []) for way in WAYS]
)
def test_text_is_not_run(way, evil, data, evidence):
    """A sentence names the file and the option."""
    said = WAYS[way](evil, data)
    assert f"{evil} carries a call in the text of its option {OPTION}" in said and "weights_only=False" not in said
    assert not evidence.exists() and not (evil.parent / "out").is_file()


def test_without_the_gate_it_would_run(evil, evidence, monkeypatch):
    """That the test above can fail."""
    monkeypatch.setattr(checkpoints, "calls", lambda text: False)
    with pytest.raises(CheckpointError):
        checkpoint_utils.load_model_ensemble([str(evil)])
    assert evidence.exists()


@pytest.mark.parametrize(
    "text, expected",
    [
        ("[(512, 3)] * 20 + [(1024, 3)]", False),  # how fconv has its layers
        ("(0.9, 0.98)", False),
        ('{"beam": 5, "max_len_a": 1.2}', False),
        ("/data/a run (2)/bin", False),  # no Python
        ("relu", False),
        ("exit()", True),
        ("\t [print('here')]", True),
        ("\n__import__('os').system('ls')", True),
        ("{'a': [x for x in (0,) if print(x)]}", True),
        ("f\"{print('here')}\"", True),
        ("(" * 100_000, False),  # nor is this Python
        (f"{'-' * 100_000}print()", True),  # nested too deeply to say
    ],
)
def test_what_calls(text, expected):
    """Text that Python would call something for, and text that it would not."""
    assert calls(text) == expected


def test_calls_are_found_at_any_depth_but_not_in_names_of_files(tmp_path):
    """For every architecture and option; "runs/model(2)" is a name."""
    model = argparse.Namespace(arch="fconv", save_dir="runs/model(2)", encoder_layers="[(512, 3)] * 20")
    path = write_checkpoint(tmp_path / "a.pt", {"w": torch.ones(1)}, cfg={"model": model})
    assert read(path)["cfg"]["model"] == model
    for cfg in ({"model": argparse.Namespace(layers=[("f()", 1)])}, {"model": {"w2v": {"model": {"layers": "f()"}}}}):
        path = write_checkpoint(tmp_path / "b.pt", {"w": torch.ones(1)}, cfg=cfg)
        with pytest.raises(CheckpointError, match="carries a call in the text of its option layers"):
            read(path)


def rename(state):
    state["model"]["renamed"] = state["model"].pop("decoder.layers.0.blocks.0.ffn.fc1.weight")


def reshape(state):
    state["model"]["decoder.layers.0.blocks.0.ffn.fc1.weight"] = torch.ones(3, 3)


def diverge(state):
    state["model"]["decoder.layers.0.blocks.0.ffn.fc1.weight"][0, 0] = float("nan")


CONTENTS = {
    "renamed": (rename, "cannot be loaded: RuntimeError: Error.* Missing key"),
    "reshaped": (reshape, "cannot be loaded: RuntimeError: Error.* size mismatch"),
    "diverged": (diverge, "holds NaN or infinity; the training diverged: take another"),
    "no-options": (lambda state: state.pop("cfg"), "holds no options of its model"),
    "no-model": (lambda state: state.pop("model"), "holds no model"),
    "model-of-text": (lambda state: state.update(model="text"), "holds no model"),
    "options-of-text": (lambda state: state.update(cfg="text"), "holds no options of its model"),
    "expanded": (
        lambda state: state["model"].update(other=torch.ones(1).expand(10**12)),
        "other says that it has more numbers than the file holds",
    ),
    "no-such-name": (lambda state: setattr(state["cfg"]["model"], OPTION, "foo"), "cannot be loaded: NameError"),
}


@pytest.mark.parametrize("kind", CONTENTS)
def test_contents_that_do_not_fit(kind, trained, data, tmp_path):
    """In a whole archive: a sentence that names the file, on the command line too."""
    change, sentence = CONTENTS[kind]
    path = changed(trained, tmp_path / "a.pt", change)
    with pytest.raises(CheckpointError, match=f"^{path}.* {sentence}"):
        checkpoint_utils.load_model_ensemble([str(path)], {"data": str(data)})
    status, said = fairseq("generate", data, "--user-dir", "sret_fairseq", "--cpu", "--path", path)
    assert status == 1 and str(path) in said and "Traceback" not in said and "weights_only" not in said
