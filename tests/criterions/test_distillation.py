"""Soft-label distillation: the loss against loops over its definition, and the options that it refuses."""

import itertools
import math

import pytest
import torch
from fairseq import metrics
from fairseq.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropyCriterion

from sret_fairseq.criterions.distillation import SoftDistillation
from support.criterions import PREVIOUS, SOURCES, sample
from support.models import PAD, TARGET_WORDS, build_fairseq, build_sret, is_unused_copy, lengths
from support.teachers import make_task, save_lstm, save_teachers

VOCABULARY = TARGET_WORDS + 4


@pytest.fixture(scope="module")
def teachers(tmp_path_factory):
    return save_teachers(tmp_path_factory.mktemp("teachers"))


def criterion(paths, smoothing=0.1, sentence_avg=False, **options):
    return SoftDistillation(make_task(), sentence_avg, smoothing, ":".join(paths), **options)


def probabilities(logits, temperature):
    """Softmax of a list of numbers, in Python's float64."""
    exponentials = [math.exp((logit - max(logits)) / temperature) for logit in logits]
    return [value / sum(exponentials) for value in exponentials]


def soft_loss_by_hand(student, models, batch, temperature, k=0, prefix=0):
    """The definition, word by word."""
    total = 0.0
    student_logits = student(**batch["net_input"])[0].tolist()
    teacher_logits = [model(**batch["net_input"])[0].tolist() for model in models]
    for row, column in itertools.product(*map(range, batch["target"].shape)):
        if batch["target"][row, column] == PAD or column < prefix:
            continue
        ensemble = [probabilities(logits[row][column], temperature) for logits in teacher_logits]
        p = [sum(values) / len(values) for values in zip(*ensemble)]
        if k:
            kept = sorted(range(len(p)), key=lambda word: -p[word])[:k]
            p = [p[word] / sum(p[kept_word] for kept_word in kept) if word in kept else 0.0 for word in range(len(p))]
        q = probabilities(student_logits[row][column], temperature)
        total -= temperature**2 * sum(p[word] * math.log(q[word]) for word in range(len(p)))
    return total


@pytest.mark.parametrize(
    "which, options",
    [
        ([0], {"distillation_temperature": 2.5}),
        ([0], {"teacher_top_k": 1, "ignore_prefix_size": 2}),
        ([0, 1, 2], {}),
        ([0, 1, 2], {"distillation_temperature": 0.5, "teacher_top_k": 3, "ignore_prefix_size": 5}),
    ],
    ids=str,
)
def test_soft_loss_by_hand(teachers, which, options):
    """Temperature, top-k, ensemble, prefix and padding, against loops; the student is another kind of model."""
    student, batch = build_sret(seed=3), sample()
    built = criterion([teachers[number] for number in which], **options)
    loss, size, logged = built(student, batch)
    models = [build_fairseq(seed=11), build_fairseq(seed=12), build_sret(seed=13)]
    expected = soft_loss_by_hand(
        student,
        [models[number] for number in which],
        batch,
        options.get("distillation_temperature", 1.0),
        options.get("teacher_top_k", 0),
        options.get("ignore_prefix_size", 0),
    )
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    assert logged["soft_loss"] == logged["loss"] == loss.detach() and size == batch["ntokens"]


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("sentence_avg", [False, True])
def test_hard_weight(teachers, weight, sentence_avg):
    """The two losses are mixed, and what fairseq logs of the student is what its own criterion logs."""
    student, batch = build_sret(), sample()
    built = criterion(teachers[:1], sentence_avg=sentence_avg, hard_weight=weight, report_accuracy=True)
    theirs = LabelSmoothedCrossEntropyCriterion(make_task(), sentence_avg, 0.1, report_accuracy=True)
    loss, size, logged = built(student, batch)
    hard, hard_size, hard_logged = theirs(student, batch)
    soft = soft_loss_by_hand(student, [build_fairseq(seed=11)], batch, 1.0)
    assert float(loss) == pytest.approx((1 - weight) * soft + weight * float(hard), rel=1e-5)
    assert size == hard_size
    for name in set(hard_logged) - {"loss"}:
        assert logged[name] == hard_logged[name], name


def test_hard_weight_of_one_is_fairseqs(teachers):
    """Bit for bit, with every gradient."""
    results = []
    for built in (
        criterion(teachers[:1], hard_weight=1.0),
        LabelSmoothedCrossEntropyCriterion(make_task(), False, 0.1),
    ):
        student = build_sret()
        loss, _, _ = built(student, sample())
        loss.backward()
        results.append((loss, [parameter.grad for parameter in student.parameters()]))
    assert results[0][0] == results[1][0]
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(results[0][1], results[1][1]))


def test_all_words_as_top_k(teachers):
    """K = V is no restriction."""
    student = build_sret()
    whole, every = (float(criterion(teachers[:1], teacher_top_k=k)(student, sample())[0]) for k in (0, VOCABULARY))
    assert every == pytest.approx(whole, rel=1e-6)


def test_student_that_is_its_teacher(teachers):
    """Cross-entropy, not divergence: it is the teacher's entropy, and its gradient is zero there."""
    student = build_fairseq(seed=11)
    loss, _, _ = criterion(teachers[:1])(student, sample())
    loss.backward()
    p = torch.softmax(student(**sample()["net_input"])[0][sample()["target"].ne(PAD)].double(), dim=-1)
    assert float(loss) == pytest.approx(float(-(p * p.log()).sum()), rel=1e-5)
    gradients = [parameter.grad for name, parameter in student.named_parameters() if not is_unused_copy(name)]
    assert max(float(gradient.abs().max()) for gradient in gradients) < 1e-4


def test_teacher_stays_as_it_is(teachers):
    """A training step in training mode changes the student alone; the criterion has nothing to save or to train."""
    student, built = build_sret().train(), criterion(teachers)
    built.train()
    before = [{name: value.clone() for name, value in model.state_dict().items()} for model in built.teacher.models]
    weights = [parameter.clone() for parameter in student.parameters()]
    loss, _, _ = built(student, sample())
    loss.backward()
    torch.optim.SGD(student.parameters(), lr=0.1).step()
    assert not list(built.parameters()) and not list(built.modules())[1:] and not built.state_dict()
    for model, old in zip(built.teacher.models, before):
        assert not any(module.training for module in model.modules())
        assert all(parameter.grad is None and not parameter.requires_grad for parameter in model.parameters())
        assert all(torch.equal(value, old[name]) for name, value in model.state_dict().items())
    assert not any(torch.equal(new, old) for new, old in zip(student.parameters(), weights))


def test_padding_counts_for_nothing(teachers):
    """The loss of a batch is the sum of its sentences' losses, each alone without padding."""
    student, built, batch = build_sret(), criterion(teachers[:1]), sample()
    alone = 0.0
    for row in range(len(SOURCES)):
        goal = batch["target"][row][batch["target"][row].ne(PAD)][None]
        tokens = SOURCES[row][SOURCES[row].ne(PAD)][None]
        inputs = {"src_tokens": tokens, "src_lengths": lengths(tokens)}
        inputs["prev_output_tokens"] = PREVIOUS[row][PREVIOUS[row].ne(PAD)][None]
        alone += float(built(student, {"net_input": inputs, "target": goal, "ntokens": goal.numel()})[0])
    assert float(built(student, batch)[0]) == pytest.approx(alone, rel=1e-5)


def test_another_kind_of_teacher(tmp_path):
    """Any translation model that predicts the next word."""
    model, path = save_lstm(tmp_path / "lstm.pt")
    student = build_sret()
    expected = soft_loss_by_hand(student, [model], sample(), 1.0)
    assert float(criterion([path])(student, sample())[0]) == pytest.approx(expected, rel=1e-5)


def test_metrics_are_bits():
    """The loss by sample size, the others by tokens, in bits, over all logging outputs."""
    logged = {"loss": 6.0, "nll_loss": 3.0, "soft_loss": 9.0, "ntokens": 6, "sample_size": 2}
    with metrics.aggregate() as seen:
        SoftDistillation.reduce_metrics([logged, {**logged, "soft_loss": 3.0}])
    values = seen.get_smoothed_values()
    bits = {"loss": 3.0, "nll_loss": 0.5, "soft_loss": 1.0}
    assert {name: values[name] for name in bits} == {
        name: pytest.approx(value / math.log(2), abs=6e-4) for name, value in bits.items()
    }


@pytest.mark.parametrize(
    "options, sentence",
    [
        ({"distillation_temperature": 0.0}, "--distillation-temperature 0.0 must be above 0"),
        ({"distillation_temperature": float("nan")}, "--distillation-temperature nan"),
        ({"hard_weight": 1.1}, "--hard-weight 1.1 must be from 0 to 1"),
        ({"hard_weight": -0.1}, "--hard-weight -0.1"),
        ({"teacher_top_k": VOCABULARY + 1}, f"--teacher-top-k {VOCABULARY + 1} must be from 1 to the {VOCABULARY}"),
        ({"teacher_top_k": -1}, "--teacher-top-k -1"),
        ({"teacher_cache": "somewhere"}, "--teacher-cache needs --teacher-top-k"),
    ],
    ids=str,
)
def test_options_are_refused(teachers, options, sentence):
    with pytest.raises(SystemExit, match=sentence):
        criterion(teachers[:1], **options)
