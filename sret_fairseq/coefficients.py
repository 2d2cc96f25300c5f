"""The learnable residual coefficients (LRC) of a model, found by the names of its parameters.

It imports no fairseq, so that a script that only reads checkpoints starts fast.
"""

import re
from typing import Dict, Iterable, List, NamedTuple, Tuple

import torch
from torch import Tensor

NAME = re.compile(
    r"(?P<side>encoder|decoder)\.layers\.(?P<group>\d+)\."
    r"(?:blocks\.(?P<block>\d+)\.(?P<sublayer>\w+)_residual|projections\.(?P<pass>\d+)\.(?P<nll_of>\d+)\.residual)"
    r"\.coefficients\.(?P<which>identity|residual)"
)
WHICH = {"identity": "c1", "residual": "c2"}


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


def coefficients(parameters: Iterable[Tuple[str, Tensor]]) -> Dict[Place, Tuple[float, ...]]:
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
