"""What every criterion here logs of a batch, as fairseq's own does."""

from typing import Any, Dict, Tuple

from fairseq import utils
from fairseq.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropyCriterion
from torch import Tensor, nn


def size_and_log(
    criterion: LabelSmoothedCrossEntropyCriterion, sample: Dict[str, Any], loss: Tensor, likelihood: Tensor
) -> Tuple[int, Dict[str, Any]]:
    """The sample size of a batch, in sentences with ``--sentence-avg`` and else in tokens, and the numbers to log."""
    sentences = sample["target"].size(0)
    sample_size = sentences if criterion.sentence_avg else sample["ntokens"]
    return sample_size, {
        "loss": loss.data,
        "nll_loss": likelihood.data,
        "ntokens": sample["ntokens"],
        "nsentences": sentences,
        "sample_size": sample_size,
    }


def accuracy(
    criterion: LabelSmoothedCrossEntropyCriterion, model: nn.Module, output: Tuple[Tensor, Any], sample: Dict[str, Any]
) -> Dict[str, Any]:
    """The numbers of ``--report-accuracy``; none without it."""
    if not criterion.report_accuracy:
        return {}
    correct, total = criterion.compute_accuracy(model, output, sample)
    return {"n_correct": utils.item(correct.data), "total": utils.item(total.data)}
