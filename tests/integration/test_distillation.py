"""fairseq's commands with soft-label distillation: training, resuming, two processes, Hydra, translating."""

import json
import shutil

import pytest
import torch

from sret_fairseq.criterions.distillation import SoftDistillation
from sret_fairseq.criterions.teacher import Teacher
from support.commands import fairseq
from support.models import REPOSITORY, not_on_python_3_10, python
from support.training import (
    BATCHES,
    MODEL,
    assert_same_weights,
    load,
    train,
    train_in_two,
)

TEACHER = (
    "--arch transformer --encoder-layers 1 --decoder-layers 1 --encoder-embed-dim 12 --decoder-embed-dim 12 "
    "--encoder-ffn-embed-dim 8 --decoder-ffn-embed-dim 8 --encoder-attention-heads 2 --decoder-attention-heads 2"
)
SENTENCES = 60  # of make_data's training text


@pytest.fixture(scope="module")
def teacher(data, tmp_path_factory):
    """A transformer of fairseq after some updates."""
    folder = tmp_path_factory.mktemp("teacher")
    train(data, folder, "--max-update 40 --no-epoch-checkpoints", model=TEACHER)
    return folder / "checkpoint_last.pt"


def soft(teacher, words=""):
    return f"--criterion sret_soft_distillation --teacher {teacher} --update-epoch-batch-itr True {words}"


@pytest.fixture
def asked(monkeypatch):
    """How many sentences the teacher has seen, call by call."""
    calls = []
    probabilities = Teacher.probabilities

    def count(self, inputs, real, temperature):
        calls.append(len(real))
        return probabilities(self, inputs, real, temperature)

    monkeypatch.setattr(Teacher, "probabilities", count)
    return calls


def test_train_and_translate_by_command(data, teacher, tmp_path):
    """As a user types it: the soft loss falls and is logged, and the student translates when its teacher is gone."""
    gone = shutil.copy(teacher, tmp_path / "teacher.pt")
    plugin = (data, "--user-dir", "sret_fairseq", "--cpu")
    words = "--distillation-temperature 2 --hard-weight 0.2 --label-smoothing 0.1 --max-update 40 --log-format json"
    words = f"{MODEL} {BATCHES} --optimizer adam --lr 0.005 --log-interval 1 {soft(gone, words)} --save-dir {tmp_path}"
    status, said = fairseq("train", *plugin, *words.split())
    assert status == 0, said
    records = [json.loads(line[line.index("{") :]) for line in said.splitlines() if '"train_soft_loss"' in line]
    assert float(records[-1]["train_soft_loss"]) < float(records[0]["train_soft_loss"])
    assert '"valid_soft_loss"' in said and f"loading the teacher {gone}" in said
    gone.unlink()
    student = ("--path", tmp_path / "checkpoint_last.pt", "--required-batch-size-multiple", 1)
    status, said = fairseq("generate", *plugin, *student)
    assert status == 0 and sum(line.startswith("H-") for line in said.splitlines()) == 12


def test_a_student_of_its_teachers_kind_nears_it(data, teacher, tmp_path):
    """Soft labels alone: after the training the cross-entropy is closer to its floor, the teacher's entropy."""
    losses = {}
    for updates in (1, 60):
        words = soft(teacher, f"--max-update {updates} --no-epoch-checkpoints --save-dir {tmp_path / str(updates)}")
        checkpoint = train(data, tmp_path / str(updates), words)
        losses[updates] = checkpoint["extra_state"]["val_loss"]
    assert losses[60] < losses[1]


@pytest.mark.parametrize("cache", [False, True])
def test_resumed_as_if_never_stopped(cache, data, teacher, tmp_path, asked):
    """Stopped in the second epoch and started again: bit for bit the same weights, with the cache or without."""

    def words(folder, updates):
        more = f"--teacher-top-k 5 --teacher-cache {tmp_path / folder}" if cache else ""
        return soft(teacher, f"--max-update {updates} --dropout 0.3 --disable-validation {more}")

    whole = train(data, tmp_path / "whole", words("one", 9))["model"]
    if cache:
        assert sum(asked) == SENTENCES
    train(data, tmp_path / "halves", words("two", 5))
    assert_same_weights(train(data, tmp_path / "halves", words("two", 9))["model"], whole)


def test_the_cache_changes_little(data, teacher, tmp_path):
    """Words from the disk train as words from the teacher do, up to float16's rounding."""
    words = soft(teacher, "--max-update 9 --optimizer sgd --lr 0.1 --teacher-top-k 5 --disable-validation")
    plain = train(data, tmp_path / "plain", words)["model"]
    cached = train(data, tmp_path / "cached", f"{words} --teacher-cache {tmp_path / 'cache'}")["model"]
    assert_same_weights(cached, plain, atol=1e-4, rtol=1e-3)


def test_two_processes_fill_one_cache(data, teacher, tmp_path):
    """They end with the weights of one process, which reads what they stored without asking the teacher."""
    more = f"--teacher-top-k 5 --teacher-cache {tmp_path / 'cache'} --disable-validation --max-update 4"
    words = soft(teacher, f"{more} --optimizer sgd --lr 0.1 --dropout 0")
    weights = train_in_two(data, tmp_path / "two", f"{words} --ddp-backend legacy_ddp")["model"]
    alone = train(data, tmp_path / "one", f"{words} --update-freq 2")["model"]
    assert_same_weights(weights, alone, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("precision", ["--memory-efficient-fp16", "--memory-efficient-bf16"])
def test_student_in_half_precision(precision, data, teacher, tmp_path):
    """The teacher of a 16-bit student stays in float32 on a CPU."""
    types = set()
    forward = SoftDistillation.forward

    def watch(self, model, sample, reduce=True):
        types.update(parameter.dtype for parameter in self.teacher.models[0].parameters())
        return forward(self, model, sample, reduce)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SoftDistillation, "forward", watch)
        weights = train(data, tmp_path, soft(teacher, f"--max-update 3 {precision}"))["model"]
    assert types == {torch.float32}
    assert all(weight.isfinite().all() for weight in weights.values())


@not_on_python_3_10
@pytest.mark.slow
def test_hydra(data, teacher, tmp_path):
    """fairseq-hydra-train takes every option; a bad one is refused in one sentence."""
    options = {"teacher": teacher, "distillation_temperature": 2.0, "hard_weight": 0.25, "teacher_top_k": 5}
    options["teacher_cache"] = tmp_path / "cache"
    words = [f"+criterion.{name}={value}" for name, value in options.items()]
    sizes = [word.removeprefix("--").replace("-", "_") for word in MODEL.split()[2:]]
    model = [
        f"model.{name}={value}" if "," not in value else f"model.{name}='{value}'"
        for name, value in zip(sizes[::2], sizes[1::2])
    ]
    run = ("task.data=" + str(data), f"checkpoint.save_dir={tmp_path}", "common.cpu=true", "dataset.num_workers=0")
    run += ("optimization.max_update=2", "dataset.max_tokens=120", "model.share_all_embeddings=false")
    command = ("-m", "fairseq_cli.hydra_train", "--config-dir", REPOSITORY / "examples/hydra")
    command += ("--config-name", "sret_transformer", *run, *model, "criterion._name=sret_soft_distillation", *words)
    python(*command)
    built = load(tmp_path)["cfg"]["criterion"]
    assert {name: str(built[name]) for name in options} == {name: str(value) for name, value in options.items()}
    assert (tmp_path / "cache" / "identity.json").exists()
    with pytest.raises(AssertionError, match=r"--hard-weight 2\.0 must be from 0 to 1"):
        python(*(word.replace("hard_weight=0.25", "hard_weight=2.0") for word in map(str, command)))
