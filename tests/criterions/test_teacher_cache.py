"""The teacher's words on disk: the same loss, one look at each sentence, and what is left by accidents."""

import errno
import json
import multiprocessing
import resource

import pytest
import torch
from fairseq.data import LanguagePairDataset

from sret_fairseq.criterions import teacher_cache
from sret_fairseq.criterions.distillation import SoftDistillation
from sret_fairseq.criterions.teacher import Teacher
from support.models import SOURCE_WORDS, TARGET_WORDS, build_fairseq, build_sret, sentence
from support.teachers import make_task, save, save_lstm

SENTENCES = 9
K = 4


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return save(tmp_path_factory.mktemp("teacher") / "teacher.pt", build_fairseq(seed=11))


def load_text(task, seed=0, longer=0):
    """Give a task its training text; another seed has other words in sentences of the same lengths."""
    sides = [
        [sentence(2 + (number * step) % 7 + longer, words, seed + number) for number in range(SENTENCES)]
        for step, words in ((3, SOURCE_WORDS), (5, TARGET_WORDS))
    ]
    sources, targets = sides
    sizes = [[len(tokens) for tokens in side] for side in sides]
    task.datasets["train"] = LanguagePairDataset(
        sources, sizes[0], task.source_dictionary, targets, sizes[1], task.target_dictionary
    )


def criterion(teacher, folder, k=K, temperature=1.0, text=None, task=None):
    task = task or make_task()
    load_text(task, **(text or {}))
    built = SoftDistillation(
        *(task, False, 0.1, teacher),
        distillation_temperature=temperature,
        teacher_top_k=k,
        teacher_cache=folder and str(folder),
    )
    return built.train()


def epoch(built, batches):
    """The losses of batches, each a list of sentences' numbers."""
    data, student = built.task.datasets["train"], build_sret()
    with torch.no_grad():
        return [float(built(student, data.collater([data[number] for number in batch]))[0]) for batch in batches]


BATCHES = [[0, 1, 2, 3], [4, 5], [6, 7, 8]]
OTHER_BATCHES = [[8, 1, 5], [0, 2, 4, 6], [7], [3]]


@pytest.fixture
def asked(monkeypatch):
    """How many sentences the teacher has seen, call by call."""
    calls = []
    probabilities = Teacher.probabilities

    def count(self, inputs, real, temperature):
        assert len(inputs["src_tokens"]) == len(inputs["src_lengths"]) == len(real)
        calls.append(len(real))
        return probabilities(self, inputs, real, temperature)

    monkeypatch.setattr(Teacher, "probabilities", count)
    return calls


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_same_loss_and_one_look(teacher, tmp_path, asked, temperature):
    """Two epochs of different batches: the losses of no cache, and each sentence is asked for once."""
    cached = criterion(teacher, tmp_path, temperature=temperature)
    losses = epoch(cached, BATCHES), epoch(cached, OTHER_BATCHES)
    assert sum(asked) == SENTENCES and len(asked) == len(BATCHES)
    plain = criterion(teacher, None, temperature=temperature)
    for ours, batches in zip(losses, (BATCHES, OTHER_BATCHES)):
        assert ours == pytest.approx(epoch(plain, batches), rel=2e-4)  # float16's rounding
    assert epoch(cached, BATCHES) == losses[0]


def test_what_is_stored(teacher, tmp_path):
    """Probabilities sum to 1 again, and the words are the teacher's likeliest, the first one first."""
    built = criterion(teacher, tmp_path)
    data = built.task.datasets["train"]
    batch = data.collater([data[number] for number in (5, 0)])
    words, probabilities = built.soft_targets(batch)
    exact_words, exact = built.ask(batch["net_input"], batch["target"].ne(1))
    torch.testing.assert_close(words, exact_words)
    torch.testing.assert_close(probabilities, exact, rtol=1e-3, atol=0)
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(len(words)))


def test_validation_asks_the_teacher(teacher, tmp_path, asked):
    """Its sentences have the numbers of others: nothing is read or written."""
    built = criterion(teacher, tmp_path).eval()
    epoch(built, BATCHES)
    assert sum(asked) == SENTENCES and not list(tmp_path.iterdir())


def test_interrupted_runs_continue(teacher, tmp_path, asked):
    """What one training left is there for the next; only what is missing or was half written is asked for."""
    epoch(criterion(teacher, tmp_path), BATCHES[:2])
    built = criterion(teacher, tmp_path)
    losses = epoch(built, BATCHES)
    assert asked == [4, 2, 3]
    built.cache.probabilities[int(built.cache.offsets[5])] = 0  # the row of a sentence that never reached the disk
    built.cache.seals[1] = 0
    del asked[:]
    assert epoch(criterion(teacher, tmp_path), BATCHES) == pytest.approx(losses, rel=1e-6) and asked == [1, 1]
    (tmp_path / "words.bin").unlink()
    del asked[:]
    assert epoch(criterion(teacher, tmp_path), BATCHES) == pytest.approx(losses, rel=1e-6) and sum(asked) == SENTENCES


def test_the_longest_source_is_known_already(tmp_path):
    """What is asked of the teacher has no column of padding alone, which an LSTM does not take."""
    _, teacher = save_lstm(tmp_path / "lstm.pt")
    everything = [list(range(SENTENCES))]
    epoch(criterion(teacher, tmp_path / "cache"), [[6], [2, 4]])  # the longest sources
    losses = epoch(criterion(teacher, tmp_path / "cache"), everything)
    assert losses == pytest.approx(epoch(criterion(teacher, None), everything), rel=2e-4)


def test_other_words_of_the_same_lengths(teacher, tmp_path, asked):
    """The lengths do not tell that the text has changed, the sentences' checksums do."""
    epoch(criterion(teacher, tmp_path), BATCHES)
    changed = {"seed": 50}
    losses = epoch(criterion(teacher, tmp_path, text=changed), BATCHES)
    assert losses == pytest.approx(epoch(criterion(teacher, None, text=changed), BATCHES), rel=2e-4)


def fill(teacher, folder, batches):
    epoch(criterion(teacher, folder), batches)


def test_several_processes_at_once(teacher, tmp_path, asked):
    """Two processes, the same sentences in another order: afterwards nothing is missing, and all is right."""
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=fill, args=(teacher, tmp_path, batches)) for batches in (BATCHES, OTHER_BATCHES)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0, 0]
    losses = epoch(criterion(teacher, tmp_path), BATCHES)
    assert not asked
    assert losses == pytest.approx(epoch(criterion(teacher, None), BATCHES), rel=2e-4)


def test_a_cache_of_something_else_is_refused(teacher, tmp_path):
    """Each difference is named; a teacher that was only moved is none."""
    epoch(criterion(teacher, tmp_path / "cache"), BATCHES)
    before = {path.name: path.read_bytes() for path in (tmp_path / "cache").iterdir()}
    other = save(tmp_path / "other.pt", build_fairseq(seed=12))
    words = make_task()
    words.src_dict.symbols[-1] = "another"
    for changes, name in (
        ({"temperature": 2.0}, "temperature"),
        ({"k": K + 1}, "top-k"),
        ({"text": {"longer": 1}}, "training text"),
        ({"task": words}, "source dictionary"),
    ):
        with pytest.raises(SystemExit, match=rf"made with another {name} \(for the teacher teacher.pt\)"):
            epoch(criterion(teacher, tmp_path / "cache", **changes), BATCHES)
    with pytest.raises(SystemExit, match="made with another teacher "):
        epoch(criterion(other, tmp_path / "cache"), BATCHES)
    assert {path.name: path.read_bytes() for path in (tmp_path / "cache").iterdir()} == before
    moved = tmp_path / "moved.pt"
    moved.write_bytes(open_bytes(teacher))
    epoch(criterion(str(moved), tmp_path / "cache"), BATCHES)


def open_bytes(path):
    with open(path, "rb") as file:
        return file.read()


def test_a_folder_that_cannot_be_used(teacher, tmp_path):
    """A file in its place, a file on the way, a damaged identity: one sentence each."""
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "cache"):
        with pytest.raises(SystemExit, match=r"--teacher-cache .* cannot be used: (File exists|Not a directory)\.$"):
            epoch(criterion(teacher, folder), BATCHES)
    for content in ("{", "[]", '{"names": null}'):
        (tmp_path / "cache").mkdir(exist_ok=True)
        (tmp_path / "cache" / "identity.json").write_text(content)
        with pytest.raises(SystemExit, match=r"identity.json is damaged"):
            epoch(criterion(teacher, tmp_path / "cache"), BATCHES)


def test_a_full_disk(teacher, tmp_path, monkeypatch):
    """The room is taken before the first word is stored; without it nothing is left, and a later run may try again."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, hard))
    try:
        with pytest.raises(SystemExit, match=r"cannot be used: File too large\.$"):
            epoch(criterion(teacher, tmp_path), BATCHES)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(teacher_cache.os, "posix_fallocate", full)
        with pytest.raises(SystemExit, match=r"cannot be used: No space left on device\.$"):
            epoch(criterion(teacher, tmp_path), BATCHES)
    epoch(criterion(teacher, tmp_path), BATCHES)
    assert json.loads((tmp_path / "identity.json").read_text())["names"] == ["teacher.pt"]


def test_numbers_that_are_none_are_not_stored(teacher, tmp_path):
    """A teacher whose logits overflow would spoil the cache for good."""
    built = criterion(teacher, tmp_path)
    with torch.no_grad():
        built.teacher.models[0].decoder.output_projection.weight.fill_(float("inf"))
    with pytest.raises(SystemExit, match="no numbers"):
        epoch(built, BATCHES)
    assert not built.cache.seals.any()


def test_several_data_folders_are_refused(teacher, tmp_path):
    """Their sentences share numbers."""
    task = make_task()
    task.cfg.data = "one:two"
    with pytest.raises(SystemExit, match="takes one data folder"):
        criterion(teacher, tmp_path, task=task)
