"""Mixed-depth training: one set of weights learns to translate with several numbers of passes."""

import functools
import math
from dataclasses import dataclass, field
from typing import Any, Dict, List, Tuple

import torch
from fairseq.criterions import register_criterion
from fairseq.criterions.label_smoothed_cross_entropy import (
    LabelSmoothedCrossEntropyCriterion,
    LabelSmoothedCrossEntropyCriterionConfig,
)
from fairseq.logging import metrics
from fairseq.tasks import FairseqTask
from torch import Tensor, nn

from sret_fairseq import errors
from sret_fairseq.criterions.distillation import soft_cross_entropy
from sret_fairseq.criterions.logged import accuracy, size_and_log
from sret_fairseq.criterions.teacher import has_adaptive_softmax
from sret_fairseq.errors import TrainingError, counted, is_number, require_label_smoothing

require = functools.partial(errors.require, who="sret_mixed_depth")


@dataclass
class MixedDepthConfig(LabelSmoothedCrossEntropyCriterionConfig):
    """Options beside those of ``label_smoothed_cross_entropy``."""

    mixed_depth: str = field(
        default="1",
        metadata={"help": "numbers of passes P1,P2,... of which each batch draws one to train beside all passes"},
    )
    mixed_depth_weight: float = field(default=1.0, metadata={"help": "weight of the loss at the drawn passes"})
    mixed_depth_soft_labels: bool = field(
        default=False, metadata={"help": "train the fewer passes on what all passes predict instead of the text"}
    )


def parse_depths(text: str) -> List[int]:
    """The numbers of ``P1,P2,...``, in order, each once.

    Raises:
        OptionError: there is something else in the text.
    """
    parts = [part.strip() for part in str(text).split(",")]
    require(
        all(part.isascii() and part.isdigit() and int(part) >= 1 for part in parts),
        f"--mixed-depth {text} must be whole numbers from 1 up, separated by commas, such as 1 or 1,2.",
    )
    return sorted({int(part) for part in parts})


def most_passes(model: nn.Module) -> int:
    """The passes of the side that has more."""
    return max(len(model.encoder.slices), len(model.decoder.slices))


def soft_label_loss(deep: Tensor, shallow: Tensor, real: Tensor) -> Tensor:
    """The cross-entropy ``-sum_v p(v) log q(v)``, summed over real tokens, p without gradient.

    Args:
        deep: (B, T, V), the logarithms of p.
        shallow: (B, T, V), those of q.
        real: (B, T), False at padding.
    """
    return soft_cross_entropy(shallow[real], None, deep[real].detach().exp(), temperature=1.0)


@register_criterion("sret_mixed_depth", dataclass=MixedDepthConfig)
class MixedDepthCriterion(LabelSmoothedCrossEntropyCriterion):
    """``L(all passes) + weight * L(P passes)`` with P drawn from ``--mixed-depth`` anew for every batch.

    L is fairseq's label-smoothed cross-entropy; with ``--mixed-depth-soft-labels`` the second term is the cross-entropy
    to what all passes predict. P counts the passes of both sides; a side with fewer runs all of its own. What is logged
    as ``loss`` and ``nll_loss`` is of all passes; ``shallow_loss`` is the second term; validation logs the likelihood
    at each P as ``nll_loss_P``.
    """

    def __init__(
        self,
        task: FairseqTask,
        sentence_avg: bool,
        label_smoothing: float,
        ignore_prefix_size: int = 0,
        report_accuracy: bool = False,
        mixed_depth: str = "1",
        mixed_depth_weight: float = 1.0,
        mixed_depth_soft_labels: bool = False,
    ):
        require_label_smoothing(label_smoothing, "sret_mixed_depth")
        super().__init__(task, sentence_avg, label_smoothing, ignore_prefix_size, report_accuracy)
        self.depths = parse_depths(mixed_depth)
        require(
            is_number(mixed_depth_weight) and mixed_depth_weight > 0,
            f"--mixed-depth-weight {mixed_depth_weight} must be more than 0, and finite.",
        )
        passes = getattr(task, "trained_passes", None)  # of a sret_transformer; others are refused with the first batch
        require(
            passes is None or self.depths[-1] < passes,
            f"--mixed-depth {self.depths[-1]} must be fewer than the {counted(passes, 'pass')} of "
            f"--encoder-recursions and --decoder-recursions.",
        )
        self.weight = mixed_depth_weight
        self.soft_labels = mixed_depth_soft_labels

    def forward(
        self, model: nn.Module, sample: Dict[str, Any], reduce: bool = True
    ) -> Tuple[Tensor, int, Dict[str, Any]]:
        """The loss of a batch, the sample size, and what to log, as in fairseq.

        Raises:
            TrainingError: see check.
        """
        self.check(model)
        deep = model(**sample["net_input"])
        loss, likelihood = self.compute_loss(model, deep, sample, reduce=reduce)
        sample_size, logged = size_and_log(self, sample, loss, likelihood)
        logged.update(accuracy(self, model, deep, sample))
        if self.training:
            # fairseq seeds torch with the number of the update: a resumed training draws the same.
            passes = self.depths[int(torch.randint(len(self.depths), ()))]
            shallow_loss = self.shallow_loss(model, deep, sample, passes, reduce)
            loss = loss + self.weight * shallow_loss
            logged["shallow_loss"] = shallow_loss.data
        else:
            for passes in self.shallower(model):
                shallow = self.shallow(model, sample, passes)
                logged[f"nll_loss_{passes}"] = self.compute_loss(model, shallow, sample, reduce=reduce)[1].data
        return loss, sample_size, logged

    def check(self, model: nn.Module) -> None:
        """Refuse models that cannot run fewer passes, and a wrapper that could not follow two passes over a model."""
        if not hasattr(model, "at_passes"):
            raise TrainingError("--criterion sret_mixed_depth trains a sret_transformer; choose such an --arch.")
        if has_adaptive_softmax(model):
            raise TrainingError("--criterion sret_mixed_depth knows no adaptive softmax; leave it out.")
        if getattr(model, "find_unused_parameters", False):
            raise TrainingError(
                "--criterion sret_mixed_depth does not work with --find-unused-parameters; take --ddp-backend "
                "legacy_ddp, which needs no such option."
            )

    def shallower(self, model: nn.Module) -> List[int]:
        """The depths below that of the model, which a validation may have made less deep than it was trained."""
        return [passes for passes in self.depths if passes < most_passes(model)]

    def shallow(self, model: nn.Module, sample: Dict[str, Any], passes: int) -> Tuple[Tensor, Any]:
        """What the model says with so many passes."""
        with model.at_passes(passes):
            return model(**sample["net_input"])

    def shallow_loss(
        self, model: nn.Module, deep: Tuple[Tensor, Any], sample: Dict[str, Any], passes: int, reduce: bool
    ) -> Tensor:
        """The loss with so many passes, given what all of them say."""
        shallow = self.shallow(model, sample, passes)
        if not self.soft_labels:
            return self.compute_loss(model, shallow, sample, reduce=reduce)[0]
        real = sample["target"][:, self.ignore_prefix_size :].ne(self.padding_idx)
        deep, shallow = (
            model.get_normalized_probs(output, log_probs=True)[:, self.ignore_prefix_size :]
            for output in (deep, shallow)
        )
        return soft_label_loss(deep, shallow, real)

    @classmethod
    def reduce_metrics(cls, logging_outputs: List[Dict[str, Any]]) -> None:
        """Aggregate what the processes logged, in bits as fairseq does."""
        super().reduce_metrics(logging_outputs)
        for name in logging_outputs[0]:
            if name == "shallow_loss" or name.startswith("nll_loss_"):
                size = "sample_size" if name == "shallow_loss" else "ntokens"
                total, count = (sum(float(log[key]) for log in logging_outputs) for key in (name, size))
                metrics.log_scalar(name, total / count / math.log(2), count, round=3)
