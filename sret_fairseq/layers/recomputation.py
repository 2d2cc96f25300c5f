"""Activation checkpointing inside a long loop: segments of it, of which backward computes one at a time anew.

fairseq's own wrapper recomputes a whole layer at once. A recursion group is one layer for fairseq, of any depth.
"""

import contextlib
import math
from typing import Any, Callable, List, Tuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

# What an application of a block keeps for its backward, in multiples of its input.
KEPT = 24


def segments(applications: int) -> List[Tuple[int, int]]:
    """A loop's applications of blocks, from 0 up, in segments (first, end) of equal length, but for the last one.

    n applications in segments of s keep the n / s inputs of the segments, and while backward is in one of them what its
    s applications keep: n / s + KEPT * s, least at s = sqrt(n / KEPT), where it is 2 * sqrt(n * KEPT).
    """
    length = max(1, round(math.sqrt(applications / KEPT)))
    return [(first, min(first + length, applications)) for first in range(0, applications, length)]


def recomputed(function: Callable[[Tensor], Any], x: Tensor, offload: bool) -> Any:
    """``function(x)``, of whose activations only x is kept; backward calls the function again, with the same dropout.

    Not torch's re-entrant kind: with that DistributedDataParallel refuses weights which several segments use.

    Args:
        function: of one tensor; may read others, which are then kept.
        x: any tensor.
        offload: keep x in the CPU's memory.
    """
    place = torch.autograd.graph.save_on_cpu(pin_memory=x.is_cuda) if offload else contextlib.nullcontext()
    with place:
        return checkpoint(function, x, use_reentrant=False)
