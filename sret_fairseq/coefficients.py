"""The learnable residual coefficients (LRC) of a model, found by the names of its parameters, and in TensorBoard.

It imports no fairseq before a model is followed, so that a script that only reads checkpoints starts fast.
"""

import functools
import re
import weakref
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional, Tuple

import torch
from torch import Tensor, nn

NAME = re.compile(
    r"(?P<side>encoder|decoder)\.layers\.(?P<group>\d+)\."
    r"(?:blocks\.(?P<block>\d+)\.(?P<sublayer>\w+)_residual|projections\.(?P<pass>\d+)\.(?P<nll_of>\d+)\.residual)"
    r"\.coefficients\.(?P<which>identity|residual)"
)
WHICH = {"identity": "c1", "residual": "c2"}
followed: Optional[weakref.ref] = None  # the model that is logged to TensorBoard, once there is one


class Place(NamedTuple):
    """Where a coefficient is. Blocks count from 1 through all recursion groups of a side, passes from 1."""

    side: str  # encoder or decoder
    block: int
    pass_: str  # a number, or "all" when the passes share the coefficient
    sublayer: str  # self_attn, cross_attn, ffn or nll
    which: str  # c1, of the stream, or c2, of the sublayer's output


def block_in_group(match: re.Match) -> int:
    """The block of its recursion group that a parameter belongs to, from 0."""
    return int(match["block"] or match["nll_of"])


def places(match: re.Match, span: int, rows: int) -> List[Place]:
    """The place of each row of a parameter whose name matches, in groups of ``span`` blocks."""
    block = int(match["group"]) * span + block_in_group(match) + 1
    if match["pass"]:  # each pass has a projection of its own
        passes = [str(int(match["pass"]) + 1)]
    else:
        passes = ["all"] if rows == 1 else [str(row + 1) for row in range(rows)]
    sublayer, which = match["sublayer"] or "nll", WHICH[match["which"]]
    return [Place(match["side"], block, pass_, sublayer, which) for pass_ in passes]


def by_place(parameters: Iterable[Tuple[str, Tensor]]) -> Dict[Place, Tuple[float, ...]]:
    """The value of each coefficient, in the order of the parameters; empty for a model without any.

    A parameter is an offset from 1, (passes, 1) or (passes, C). A scalar gives ``(value,)``; one coefficient for each
    channel gives ``(mean, standard deviation)`` over the C channels. All leave the device in one transfer.
    """
    found = [(match, offsets) for name, offsets in parameters if (match := NAME.fullmatch(name))]
    if not found:
        return {}
    spans: Dict[str, int] = {}
    for match, _ in found:
        spans[match["side"]] = max(spans.get(match["side"], 1), block_in_group(match) + 1)
    moments = torch.cat(
        [torch.stack(torch.std_mean(offsets.detach().float(), 1, correction=0)) for _, offsets in found], 1
    )
    rows = [
        (place, offsets.size(1))
        for match, offsets in found
        for place in places(match, spans[match["side"]], offsets.size(0))
    ]
    return {
        place: (1 + mean, deviation) if channels > 1 else (1 + mean,)
        for (place, channels), (deviation, mean) in zip(rows, moments.T.tolist())
    }


def scalars(model: nn.Module) -> Dict[str, float]:
    """Every coefficient by its name in TensorBoard, such as ``encoder_c1/block1_self_attn_pass_all``.

    Of one coefficient for each channel it is the mean, with the standard deviation under the same name and ``_std``.
    """
    logged = {}
    for place, moments in by_place(model.named_parameters()).items():
        name = f"{place.side}_{place.which}/block{place.block}_{place.sublayer}_pass_{place.pass_}"
        logged.update(zip((name, f"{name}_std"), moments))
    return logged


def adding_coefficients(log: Callable) -> Callable:
    """fairseq's ``TensorboardProgressBarWrapper.log``, which training calls, logging the coefficients too."""

    @functools.wraps(log)
    def log_with_coefficients(
        self: Any, stats: Dict[str, Any], tag: Optional[str] = None, step: Optional[int] = None
    ) -> None:
        model = followed and followed()
        if model is not None:
            self._log_to_tensorboard(scalars(model), tag, step)
        log(self, stats, tag=tag, step=step)

    return log_with_coefficients


def follow(model: nn.Module) -> None:
    """Make fairseq log the coefficients of this model, the last that was built, to TensorBoard in this process.

    fairseq gives a metric to all of its logs or to none, and this many numbers would bury its progress line. So they
    are added where it writes to TensorBoard (``--tensorboard-logdir``): in the first process alone, once every
    ``--log-interval`` updates, to the curves of ``train_inner``. Other updates cost nothing.
    """
    from fairseq.logging.progress_bar import TensorboardProgressBarWrapper

    global followed
    followed = weakref.ref(model)
    if not hasattr(TensorboardProgressBarWrapper.log, "__wrapped__"):
        TensorboardProgressBarWrapper.log = adding_coefficients(TensorboardProgressBarWrapper.log)
