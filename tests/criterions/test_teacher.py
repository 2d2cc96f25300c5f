"""The teacher's isolation, and the checkpoints that are refused as one."""

import argparse
from pathlib import Path

import pytest
import torch
from fairseq.models.nat import nonautoregressive_transformer

from sret_fairseq import coefficients
from sret_fairseq.criterions.distillation import SoftDistillation
from sret_fairseq.criterions.teacher import Teacher
from sret_fairseq.errors import OptionError
from support.checkpoints import Payload
from support.criterions import sample
from support.models import SIZES, SOURCE_WORDS, TARGET_WORDS, build_fairseq, build_sret, dictionary
from support.teachers import make_task, save, save_teachers


@pytest.fixture(scope="module")
def teachers(tmp_path_factory):
    return save_teachers(tmp_path_factory.mktemp("teachers"))


def criterion(paths):
    return SoftDistillation(make_task(), False, 0.1, ":".join(paths))


def test_loading_leaves_no_trace(teachers):
    """Random numbers, the search of --eval-bleu and the model whose coefficients are logged stay the student's."""
    task = make_task(eval_bleu=True)
    student = build_sret()
    task.sequence_generator = "the student's"
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    Teacher(teachers, task)
    assert torch.equal(torch.rand(3), expected)
    assert task.sequence_generator == "the student's" and coefficients.followed() is student


def test_a_teacher_that_predicts_all_words_at_once(tmp_path):
    """It is refused when it is loaded."""
    options = argparse.Namespace(criterion="sret_soft_distillation", **SIZES)
    nonautoregressive_transformer.base_architecture(options)
    model = nonautoregressive_transformer.NATransformerModel.build_model(options, make_task())
    path = save(tmp_path / "nat.pt", model, arch="nonautoregressive_transformer", **vars(options))
    with pytest.raises(OptionError, match=r"nat\.pt is a NATransformerModel, which does not predict one word after"):
        criterion([path])


def refused(path, sentence, task=None):
    """Loading this teacher ends with one sentence that names it."""
    with pytest.raises(SystemExit) as raised:
        SoftDistillation(task or make_task(), False, 0.1, str(path))
    said = str(raised.value)
    assert sentence in said and str(path) in said and "\n" not in said


def test_files_are_refused(tmp_path, teachers):
    """None named, missing, no checkpoint, damaged, of another kind."""
    with pytest.raises(SystemExit, match="name the teacher's checkpoint"):
        SoftDistillation(make_task(), False, 0.1, None)
    refused(tmp_path / "gone.pt", "there is no such file")
    refused(tmp_path, "there is no such file")
    (tmp_path / "text.pt").write_text("words\n")
    refused(tmp_path / "text.pt", "no checkpoint")
    (tmp_path / "empty.pt").write_text("")
    refused(tmp_path / "empty.pt", "no checkpoint")
    torch.save({"weights": torch.ones(2)}, tmp_path / "other.pt")
    refused(tmp_path / "other.pt", "no checkpoint of fairseq: it holds no model")
    whole = Path(teachers[0]).read_bytes()
    (tmp_path / "cut.pt").write_bytes(whole[: len(whole) // 2])
    refused(tmp_path / "cut.pt", "is damaged")
    refused(
        save(tmp_path / "weights.pt", build_sret()), "cannot be loaded: RuntimeError: Error"
    )  # of another architecture


def test_dictionaries_are_refused(tmp_path, teachers):
    """Of another size; of the same size with other words, told by our digest or by the data folder of the training."""
    refused(teachers[0], "has a source dictionary of 31 words, the student's has 34", make_task(source_words=30))
    refused(teachers[0], "has a target dictionary of 37 words, the student's has 34", make_task(target_words=30))
    other = make_task()
    other.tgt_dict.symbols[-1] = "another"
    refused(teachers[2], "another target dictionary", other)
    SoftDistillation(other, False, 0.1, teachers[0])  # nothing tells the words of this one's training
    for language, words in (("xx", SOURCE_WORDS), ("yy", TARGET_WORDS)):
        dictionary(words).save(str(tmp_path / f"dict.{language}.txt"))
    (tmp_path / "train.xx-yy.xx.bin").write_text("")
    path = save(tmp_path / "told.pt", build_fairseq(), data=tmp_path)
    refused(path, "another target dictionary", other)
    SoftDistillation(make_task(), False, 0.1, path)


def test_adaptive_softmax_is_refused(tmp_path, teachers):
    """In the student and in the teacher."""
    adaptive = {"adaptive_softmax_cutoff": "10,20"}
    with pytest.raises(SystemExit, match="the student has an adaptive softmax"):
        criterion(teachers[:1])(build_sret(**adaptive), sample())
    model = build_fairseq(**adaptive)
    refused(save(tmp_path / "adaptive.pt", model, **adaptive), "has an adaptive softmax")


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_teacher_with_numbers_that_are_none_is_refused(tmp_path, number):
    """Before its first batch, by the name of a tensor."""
    model = build_fairseq()
    with torch.no_grad():
        model.decoder.layers[1].fc1.bias[3] = number
    refused(save(tmp_path / "nan.pt", model), "the tensor decoder.layers.1.fc1.bias holds NaN or infinity")


def test_overflow_is_noticed_without_a_cache(teachers):
    """As logits do in float16 on a GPU."""
    built = criterion(teachers[:1])
    with torch.no_grad():
        built.teacher.models[0].decoder.output_projection.weight.fill_(float("inf"))
    with pytest.raises(SystemExit, match="no numbers"):
        built(build_sret(), sample())


def test_sentences_too_long_for_the_teacher(tmp_path):
    """Longer than its positions: a sentence that tells the limits."""
    path = save(tmp_path / "short.pt", build_fairseq(max_source_positions=8), max_source_positions=8)
    with pytest.raises(SystemExit, match="--max-source-positions 8 --max-target-positions 310"):
        criterion([path])(build_sret(), sample())


def test_nothing_in_a_teacher_is_run(tmp_path):
    """A checkpoint with code in it is refused before the code runs."""
    torch.save({"model": Payload(tmp_path / "made")}, tmp_path / "payload.pt")
    refused(tmp_path / "payload.pt", "carries posix.mkdir, which is not among the data")
    assert not (tmp_path / "made").exists()
