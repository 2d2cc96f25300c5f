"""Soft-label distillation: a student learns the distribution of a teacher over the vocabulary.

The loss is that of the official vision code's distillation: the teacher's softmax against the student's log-softmax,
without a logarithm on the teacher's side, so that it is the divergence of Kullback and Leibler plus the teacher's
entropy, which no gradient sees. The temperature and its factor are those of Hinton, Vinyals and Dean (2015).
"""

import functools
import math
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Tuple

import torch
from fairseq import utils
from fairseq.criterions import register_criterion
from fairseq.criterions.label_smoothed_cross_entropy import (
    LabelSmoothedCrossEntropyCriterion,
    LabelSmoothedCrossEntropyCriterionConfig,
    label_smoothed_nll_loss,
)
from fairseq.logging import metrics
from fairseq.tasks import FairseqTask
from torch import Tensor, nn

from sret_fairseq import errors
from sret_fairseq.criterions.logged import accuracy, size_and_log
from sret_fairseq.criterions.teacher import Teacher, has_adaptive_softmax
from sret_fairseq.criterions.teacher_cache import TeacherCache
from sret_fairseq.errors import TrainingError, is_number, require_label_smoothing


@dataclass
class SoftDistillationConfig(LabelSmoothedCrossEntropyCriterionConfig):
    """The options of ``sret_soft_distillation``, beside those of ``label_smoothed_cross_entropy``."""

    teacher: Optional[str] = field(
        default=None,
        metadata={"help": "checkpoint of the teacher, or several, separated by colons, for the mean of an ensemble"},
    )
    distillation_temperature: float = field(
        default=1.0, metadata={"help": "what the logits of teacher and student are divided by; above 0"}
    )
    hard_weight: float = field(
        default=0.0, metadata={"help": "weight of the label-smoothed loss against the text, from 0 (soft only) to 1"}
    )
    teacher_top_k: int = field(
        default=0, metadata={"help": "how many of the teacher's likeliest words count for each token; 0 = all"}
    )
    teacher_cache: Optional[str] = field(
        default=None,
        metadata={"help": "folder that keeps the teacher's likeliest words, so that it runs once for each sentence"},
    )


require = functools.partial(errors.require, who="sret_soft_distillation")


def likeliest(probabilities: Tensor, k: int) -> Tuple[Tensor, Tensor]:
    """The k largest of each row, made to sum to 1: their words and probabilities, (N, V) -> (N, k), (N, k)."""
    largest, words = probabilities.topk(k, dim=-1)
    return words, largest / largest.sum(dim=-1, keepdim=True)


def soft_cross_entropy(lprobs: Tensor, words: Optional[Tensor], probabilities: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of the student against the teacher's distribution, summed over tokens.

    With the student's logits z, the teacher's probabilities p and the temperature T,

        L = -T^2 * sum_v p(v) * log_softmax(z / T)(v)

    in which T^2 keeps the size of the gradients that 1/T^2 would shrink.

    Args:
        lprobs: (N, V), ``log_softmax(z)``.
        words: (N, K), to which the probabilities belong; None for all V.
        probabilities: (N, K), taken at the same temperature.
        temperature: T.
    """
    if temperature != 1:
        lprobs = torch.log_softmax(lprobs / temperature, dim=-1)
    if words is not None:
        lprobs = lprobs.gather(1, words)
    return -(temperature**2) * (probabilities * lprobs).sum()


@register_criterion("sret_soft_distillation", dataclass=SoftDistillationConfig)
class SoftDistillation(LabelSmoothedCrossEntropyCriterion):
    """``(1 - w) * soft + w * label-smoothed``, with w the hard weight.

    For students and teachers with a softmax over the whole vocabulary. Validation asks the teacher each time; only
    sentences of the training are kept in the cache.
    """

    def __init__(
        self,
        task: FairseqTask,
        sentence_avg: bool,
        label_smoothing: float,
        teacher: Optional[str],
        distillation_temperature: float = 1.0,
        hard_weight: float = 0.0,
        teacher_top_k: int = 0,
        teacher_cache: Optional[str] = None,
        ignore_prefix_size: int = 0,
        report_accuracy: bool = False,
    ):
        """Load the teacher.

        Raises:
            OptionError: an option or a teacher that cannot be used.
        """
        require_label_smoothing(label_smoothing, "sret_soft_distillation")
        super().__init__(task, sentence_avg, label_smoothing, ignore_prefix_size, report_accuracy)
        temperature, vocabulary = distillation_temperature, len(task.target_dictionary)
        paths = [path for path in utils.split_paths(teacher or "") if path]
        require(bool(paths), "name the teacher's checkpoint, or several separated by colons: --teacher FILE[:FILE...].")
        require(
            is_number(temperature) and temperature > 0, f"--distillation-temperature {temperature} must be above 0."
        )
        require(is_number(hard_weight) and 0 <= hard_weight <= 1, f"--hard-weight {hard_weight} must be from 0 to 1.")
        require(
            0 <= teacher_top_k <= vocabulary,
            f"--teacher-top-k {teacher_top_k} must be from 1 to the {vocabulary:,} words of the target dictionary, "
            f"or 0 for all.",
        )
        require(
            teacher_cache is None or teacher_top_k > 0,
            "--teacher-cache needs --teacher-top-k, such as 16: the whole vocabulary is too much for a disk.",
        )
        self.temperature, self.hard_weight, self.top_k = temperature, hard_weight, teacher_top_k
        self.teacher = Teacher(paths, task)
        self.cache = None
        if teacher_cache is not None:
            self.cache = TeacherCache(teacher_cache, paths, temperature, teacher_top_k, task)

    def forward(
        self, model: nn.Module, sample: Dict[str, Any], reduce: bool = True
    ) -> Tuple[Tensor, int, Dict[str, Any]]:
        """The loss of a batch, the sample size, and what to log, as in fairseq; with the soft loss.

        Raises:
            TrainingError: the student has an adaptive softmax.
        """
        if has_adaptive_softmax(model):
            raise TrainingError("sret_soft_distillation: the student has an adaptive softmax, which is not known here.")
        assert reduce, "a loss for each token is not kept"
        output = model(**sample["net_input"])
        lprobs, target = self.get_lprobs_and_target(model, output, sample)
        soft = self.soft_loss(lprobs[target.ne(self.padding_idx)], sample)
        hard, likelihood = label_smoothed_nll_loss(
            lprobs if self.hard_weight else lprobs.detach(), target, self.eps, ignore_index=self.padding_idx
        )
        loss = (1 - self.hard_weight) * soft + self.hard_weight * hard
        sample_size, logged = size_and_log(self, sample, loss, likelihood)
        logged.update(accuracy(self, model, output, sample), soft_loss=soft.data)
        return loss, sample_size, logged

    def soft_loss(self, lprobs: Tensor, sample: dict) -> Tensor:
        """The soft loss of a batch, given the student's log-probabilities (N, V) of the tokens that count."""
        words, probabilities = self.soft_targets(sample)
        if self.ignore_prefix_size:
            real = sample["target"].ne(self.padding_idx)
            after_prefix = torch.arange(real.size(1), device=real.device) >= self.ignore_prefix_size
            counts = after_prefix.expand_as(real)[real]
            words, probabilities = None if words is None else words[counts], probabilities[counts]
        return soft_cross_entropy(lprobs, words, probabilities, self.temperature)

    def soft_targets(self, sample: dict) -> Tuple[Optional[Tensor], Tensor]:
        """Words (N, K), or None for all, and the teacher's probabilities of each real token of a batch's target."""
        real = sample["target"].ne(self.padding_idx)
        if self.cache is not None and self.training:
            return self.cache.targets(sample, real, self.ask)
        return self.ask(sample["net_input"], real)

    def ask(self, inputs: dict, real: Tensor) -> Tuple[Optional[Tensor], Tensor]:
        """The same, from the teacher itself."""
        probabilities = self.teacher.probabilities(inputs, real, self.temperature)
        return likeliest(probabilities, self.top_k) if self.top_k else (None, probabilities)

    @classmethod
    def reduce_metrics(cls, logging_outputs: List[Dict[str, Any]]) -> None:
        """fairseq's metrics, and the soft loss in bits a token."""
        super().reduce_metrics(logging_outputs)
        soft, tokens = (sum(log.get(name, 0) for log in logging_outputs) for name in ("soft_loss", "ntokens"))
        metrics.log_scalar("soft_loss", soft / tokens / math.log(2), tokens, round=3)
