"""Label-smoothed cross-entropy in chunks of tokens: fairseq's loss without a tensor as large as tokens x vocabulary."""

import functools
import inspect
from typing import Any, Dict, Optional, Tuple

import torch
from fairseq.criterions import register_criterion
from fairseq.criterions.label_smoothed_cross_entropy import (
    LabelSmoothedCrossEntropyCriterion,
    LabelSmoothedCrossEntropyCriterionConfig,
)
from fairseq.tasks import FairseqTask
from torch import Tensor, nn

from sret_fairseq.criterions.logged import size_and_log
from sret_fairseq.errors import OptionError, TrainingError, require_label_smoothing

# Logits of one chunk: few enough for a CPU's caches; elsewhere enough for a large product of matrices.
CHUNK_SIZE = {"cpu": 2**20}
LARGE_CHUNK_SIZE = 2**26


class ChunkedLoss(torch.autograd.Function):
    """Projects features to the vocabulary and takes the loss, chunk by chunk, with the gradients along the way.

    With logits ``z = f W^T`` of a token, its target y, and ``p = softmax(z)``, fairseq's loss and its gradient are

        L = a * (lse(z) - z_y) + b * (V * lse(z) - sum(z)),    dL/dz = (a + b V) p - a * onehot(y) - b
        a = 1 - eps - b,    b = eps / (V - 1)

    so that a chunk's logits can be overwritten by their gradient, and forgotten.
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, targets: Tensor, smoothing: float) -> Tuple[Tensor, Tensor]:
        """Sum of losses over tokens.

        Args:
            features: (N, C).
            weight: (V, C), the projection to the vocabulary, of the same type.
            targets: (N,).
            smoothing: eps.

        Returns:
            the loss and, without gradient, the negative log-likelihood, both scalars in float32 (or float64).
        """
        vocabulary = weight.size(0)
        b = smoothing / (vocabulary - 1)
        a = 1.0 - smoothing - b
        features_need, weight_needs = ctx.needs_input_grad[:2]
        wide = torch.promote_types(features.dtype, torch.float32)
        loss = features.new_zeros((), dtype=wide)
        likelihood = torch.zeros_like(loss)
        features_grad = torch.empty_like(features) if features_need else None
        weight_grad = torch.zeros_like(weight, dtype=wide) if weight_needs else None  # a sum over all chunks
        # Gradients of unlikely words would vanish in float16, whose loss scale comes only later: what goes back to the
        # features is lifted until then. The weight's gradient sums over many tokens and could overflow.
        ctx.lift = 1024.0 if features.dtype == torch.float16 else 1.0

        rows = max(1, CHUNK_SIZE.get(features.device.type, LARGE_CHUNK_SIZE) // vocabulary)
        for start in range(0, len(features), rows):
            chunk = features[start : start + rows]
            target = targets[start : start + len(chunk), None]
            logits = torch.mm(chunk, weight.t()).to(wide)
            uniform = logits.sum(dim=1, keepdim=True).neg_()
            negative = logits.gather(1, target).neg_()
            largest = logits.amax(dim=1, keepdim=True)
            exponentials = logits.sub_(largest).exp_()
            total = exponentials.sum(dim=1, keepdim=True)
            log_sum = total.log().add_(largest)
            negative, uniform = (negative + log_sum).sum(), (uniform + vocabulary * log_sum).sum()
            likelihood += negative
            loss += a * negative + b * uniform
            if not (features_need or weight_needs):
                continue
            gradient = exponentials.mul_((a + b * vocabulary) / total).sub_(b)
            gradient.scatter_add_(1, target, torch.full_like(total, -a))
            if features_grad is not None:
                lifted = gradient * ctx.lift if ctx.lift != 1.0 else gradient
                features_grad[start : start + len(chunk)] = torch.mm(lifted.to(weight.dtype), weight)
            if weight_grad is not None:
                weight_grad += torch.mm(gradient.to(chunk.dtype).t(), chunk)
        ctx.save_for_backward(features_grad, None if weight_grad is None else weight_grad.to(weight.dtype))
        ctx.mark_non_differentiable(likelihood)
        return loss, likelihood

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, scale: Tensor, _: Any) -> Tuple[Optional[Tensor], ...]:
        """Scale the gradients by that of the loss."""
        features_grad, weight_grad = ctx.saved_tensors
        if features_grad is not None:
            features_grad = features_grad * (scale / ctx.lift).to(features_grad.dtype)
        if weight_grad is not None:
            weight_grad = (weight_grad.to(scale.dtype) * scale).to(weight_grad.dtype)  # a scale may exceed float16
        return features_grad, weight_grad, None, None


def unwrapped(model: nn.Module) -> nn.Module:
    """The model itself, without what fairseq wraps around it for several processes."""
    while hasattr(model, "module"):
        model = model.module
    return model


@functools.cache
def can_leave_out_its_last_layer(kind: type) -> bool:
    """Whether models of a class have fairseq's ``features_only``; asked at every batch, looked up once."""
    return "features_only" in inspect.signature(kind.forward).parameters


@register_criterion("chunked_label_smoothed_cross_entropy", dataclass=LabelSmoothedCrossEntropyCriterionConfig)
class ChunkedLabelSmoothedCrossEntropy(LabelSmoothedCrossEntropyCriterion):
    """``label_smoothed_cross_entropy``, equal up to rounding, with less memory and time.

    For models whose decoder projects to the vocabulary by one matrix: ``sret_transformer``, ``transformer``. The matrix
    is used outside of the model's forward, so ``--find-unused-parameters`` takes ``--ddp-backend legacy_ddp`` or
    ``--share-decoder-input-output-embed``, and FSDP does not work.
    """

    def __init__(
        self,
        task: FairseqTask,
        sentence_avg: bool,
        label_smoothing: float,
        ignore_prefix_size: int = 0,
        report_accuracy: bool = False,
    ):
        if report_accuracy:
            raise OptionError("--report-accuracy needs all logits at once; use label_smoothed_cross_entropy.")
        require_label_smoothing(label_smoothing, "chunked_label_smoothed_cross_entropy")
        super().__init__(task, sentence_avg, label_smoothing, ignore_prefix_size)

    @staticmethod
    def check(model: nn.Module) -> None:
        """Refuse models whose logits are no product with one matrix."""
        if not can_leave_out_its_last_layer(type(unwrapped(model))):
            raise TrainingError(
                "chunked_label_smoothed_cross_entropy trains sret_transformer and transformer alone; for other models "
                "use label_smoothed_cross_entropy."
            )
        if model.decoder.adaptive_softmax is not None:
            raise TrainingError("chunked_label_smoothed_cross_entropy knows no adaptive softmax; use adaptive_loss.")
        last = getattr(model.decoder, "output_projection", None)
        if not isinstance(last, torch.nn.Linear) or last.bias is not None:
            raise TrainingError(
                "chunked_label_smoothed_cross_entropy needs a decoder whose output_projection is a plain matrix, which "
                "it is not with --quant-noise-scalar; use label_smoothed_cross_entropy."
            )

    def forward(
        self, model: nn.Module, sample: Dict[str, Any], reduce: bool = True
    ) -> Tuple[Tensor, int, Dict[str, Any]]:
        """The loss of a batch, the sample size, and what to log, as in fairseq.

        Raises:
            TrainingError: see check.
        """
        self.check(model)
        assert reduce, "a loss for each token is not kept"
        features = model(**sample["net_input"], features_only=True)[0][:, self.ignore_prefix_size :]
        targets = sample["target"][:, self.ignore_prefix_size :]
        real = targets.ne(self.padding_idx)
        weight = model.decoder.output_projection.weight
        if not torch.is_grad_enabled():
            weight = weight.detach()  # so that validation computes no gradient of it
        loss, likelihood = ChunkedLoss.apply(features[real].to(weight.dtype), weight, targets[real], self.eps)
        return loss, *size_and_log(self, sample, loss, likelihood)
