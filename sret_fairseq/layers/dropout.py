"""Dropout that on a CPU takes less time than torch's, which draws a random number for each element.

Here one draw of 64 bits serves four elements, and what is kept for backward is a byte an element instead of a float.
"""

from typing import Any, Tuple

import torch
import torch.nn.functional as F
from fairseq.modules.fairseq_dropout import FairseqDropout
from torch import Tensor

STEPS = 2**16  # a probability in 16 bits


def random_mask(like: Tensor, dropped: int) -> Tensor:
    """Bytes in the shape of ``like``, each 0 with probability ``dropped / STEPS``, else 1; ``dropped`` below STEPS."""
    count = like.numel()
    draws = torch.empty(-(-count // 4), dtype=torch.int64, device=like.device).random_(-(2**63), None)
    # In place and to bytes: a comparison whose result is boolean takes ten times as long, and so does its product.
    return draws.view(torch.int16)[:count].ge_(dropped - STEPS // 2).to(torch.uint8).view(like.shape)


class MaskedScale(torch.autograd.Function):
    """``scale * mask * x``. The mask becomes floats first: for a product with bytes torch may take 20 times as long."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mask: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(mask)
        ctx.scale = scale
        return mask.to(x.dtype).mul_(x).mul_(scale)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tuple[Tensor, None, None]:
        (mask,) = ctx.saved_tensors
        return mask.to(gradient.dtype).mul_(gradient).mul_(ctx.scale), None, None


class Dropout(FairseqDropout):
    """fairseq's, with the same options. On a CPU, in float32, the probability is rounded to 16 bits, and the scale too.

    Elsewhere it is torch's: on a GPU a single kernel.
    """

    def forward(self, x: Tensor, inplace: bool = False) -> Tensor:
        """x, some of its elements 0 and the others larger while it is active."""
        if self.p == 0 or not (self.training or self.apply_during_inference):
            return x
        if torch.jit.is_scripting() or x.device.type != "cpu" or x.dtype != torch.float32:
            return F.dropout(x, p=self.p, training=True, inplace=inplace)
        return self.from_few_draws(x)

    @torch.jit.unused
    def from_few_draws(self, x: Tensor) -> Tensor:
        """The same on a CPU."""
        dropped = round(self.p * STEPS)
        if dropped == STEPS:
            return x * 0.0
        return MaskedScale.apply(x, random_mask(x, dropped), STEPS / (STEPS - dropped))
