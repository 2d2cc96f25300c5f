"""Residual connections with learnable coefficients (LRC)."""

from typing import List, Optional, Tuple

import torch
from fairseq.modules import LayerNorm
from fairseq.modules.fairseq_dropout import FairseqDropout
from torch import Tensor, nn


def total(product: Tensor, like: Tensor) -> Tensor:
    """The sum of a (T, B, C) gradient over all that shares one coefficient: (1,) or (C,), as ``like``."""
    dims = list(range(product.dim() - 1)) if like.numel() > 1 else list(range(product.dim()))
    wide = torch.promote_types(product.dtype, torch.float32)
    return product.sum(dim=dims, dtype=wide).to(like.dtype).view_as(like)


def dot(x: Tensor, y: Tensor, like: Tensor) -> Tensor:
    """``total(x * y, like)``, without a product in memory where a plain dot product is as precise."""
    if like.numel() == 1 and x.dtype == y.dtype and x.dtype in (torch.float32, torch.float64):
        return torch.dot(x.flatten(), y.flatten()).to(like.dtype).view_as(like)
    return total(x * y, like)


class ScaledSum(torch.autograd.Function):
    """``(1 + d1) * x + (1 + d2) * f``: two passes over memory forward and four backward, half of what autograd makes.

    d1 and d2 are (1,) or (C,), or None for a coefficient that is fixed at 1.
    """

    @staticmethod
    def forward(ctx, x: Tensor, branch: Tensor, identity: Optional[Tensor], residual: Optional[Tensor]) -> Tensor:
        ctx.save_for_backward(None if identity is None else x, None if residual is None else branch, identity, residual)
        ctx.dtypes = x.dtype, branch.dtype
        return scaled_sum(x, branch, identity, residual)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        x, branch, identity, residual = ctx.saved_tensors
        x_gradient, branch_gradient, identity_gradient, residual_gradient = gradient, gradient, None, None
        if identity is not None:
            x_gradient, identity_gradient = gradient * (1 + identity), dot(gradient, x, identity)
        if residual is not None:
            branch_gradient, residual_gradient = gradient * (1 + residual), dot(gradient, branch, residual)
        x_dtype, branch_dtype = ctx.dtypes
        return x_gradient.to(x_dtype), branch_gradient.to(branch_dtype), identity_gradient, residual_gradient


def scaled_sum(x: Tensor, branch: Tensor, identity: Optional[Tensor], residual: Optional[Tensor]) -> Tensor:
    """``(1 + d1) * x + (1 + d2) * f``, all (T, B, C); see ScaledSum."""
    if identity is not None:
        x = x * (1 + identity)
    return x + branch if residual is None else torch.addcmul(x, branch, 1 + residual)


class ResidualCoefficients(nn.Module):
    """``c1 * x + c2 * f`` with learnable ``c1`` and ``c2``, initially 1 (SReT, "learnable residual coefficients").

    The parameters are the offsets ``d1 = c1 - 1`` and ``d2 = c2 - 1``. Near 1 a bfloat16 has steps of 4e-3, which
    would swallow every update; near 0 its steps are fine enough. And weight decay pulls a coefficient to 1.

    Args:
        design: which coefficients learn: ``both``, ``residual`` (c2), ``identity`` (c1) or ``none``.
        channels: 1 for scalars, or C for one coefficient per channel.
        passes: 1 when all passes share the coefficients, or their number when each has its own. Later passes use the
            last one's.
    """

    fixed: List[Tuple[float, float]]  # c1 and c2 of each pass, once they learn no more

    def __init__(self, design: str, channels: int, passes: int):
        super().__init__()
        self.channels, self.passes = channels, passes
        self.fixed = []
        learns_identity = design in ("both", "identity")
        learns_residual = design in ("both", "residual")
        self.identity = nn.Parameter(torch.zeros(passes, channels)) if learns_identity else None
        self.residual = nn.Parameter(torch.zeros(passes, channels)) if learns_residual else None

    def make_generation_fast_(self, **_) -> None:
        """Turn scalars into plain numbers, which cost less at every step; fairseq calls this before it translates."""
        if self.channels == 1:
            rows = [
                [1.0] * self.passes if offsets is None else (1 + offsets.detach().double()).flatten().tolist()
                for offsets in (self.identity, self.residual)
            ]
            self.fixed = list(zip(*rows))

    def _load_from_state_dict(self, *args) -> None:
        """Forget the plain numbers, which are of the old coefficients."""
        self.fixed = []
        super()._load_from_state_dict(*args)

    def combine(self, x: Tensor, branch: Tensor, pass_index: int) -> Tensor:
        """Both inputs and the result: (T, B, C). A method of its own: calling a module costs more than the sum."""
        row = min(pass_index, self.passes - 1)
        if len(self.fixed) > 0:
            identity_factor, residual_factor = self.fixed[row]
            return torch.add(x if identity_factor == 1.0 else x * identity_factor, branch, alpha=residual_factor)
        identity = None if self.identity is None else self.identity[row]
        residual = None if self.residual is None else self.residual[row]
        learns = identity is not None or residual is not None
        if learns and self.training and not torch.jit.is_scripting():
            return self.trained_sum(x, branch, identity, residual)
        return scaled_sum(x, branch, identity, residual)

    @torch.jit.unused
    def trained_sum(self, x: Tensor, branch: Tensor, identity: Optional[Tensor], residual: Optional[Tensor]) -> Tensor:
        """``scaled_sum`` with a gradient of its own, which TorchScript cannot compile."""
        return ScaledSum.apply(x, branch, identity, residual)


class ResidualConnection(nn.Module):
    """What surrounds the function f of a sublayer: LayerNorm, dropout, coefficients.

    Pre-norm: ``x = c1 * x + c2 * dropout(f(LN(x)))``. Post-norm: ``x = LN(c1 * x + c2 * dropout(f(x)))``.
    A sublayer calls ``enter``, then f, then ``leave``.

    Args:
        cfg: the TransformerConfig, with this project's options beside fairseq's.
        embed_dim: C.
        normalize_before: pre-norm if True.
        passes: how many passes go through this connection.
    """

    def __init__(self, cfg, embed_dim: int, normalize_before: bool, passes: int):
        super().__init__()
        self.normalize_before = normalize_before
        self.layer_norm = LayerNorm(embed_dim, export=cfg.export)
        self.dropout = FairseqDropout(cfg.dropout, module_name=self.__class__.__name__)
        self.may_drop = True
        self.coefficients = ResidualCoefficients(
            cfg.residual_coefficients,
            channels=embed_dim if cfg.residual_coefficient_size == "channel" else 1,
            passes=passes if cfg.residual_coefficients_per_pass else 1,
        )

    def make_generation_fast_(self, retain_dropout: bool = False, **_) -> None:
        """Spare the call of a dropout that does nothing; fairseq calls this before it translates."""
        self.may_drop = retain_dropout

    def enter(self, x: Tensor) -> Tensor:
        """The input of f, x: (T, B, C) -> (T, B, C)."""
        return self.layer_norm(x) if self.normalize_before else x

    def leave(self, x: Tensor, branch: Tensor, pass_index: int) -> Tensor:
        """The new stream from the old one and f's output, all (T, B, C)."""
        if self.may_drop:
            branch = self.dropout(branch)
        x = self.coefficients.combine(x, branch, pass_index)
        return x if self.normalize_before else self.layer_norm(x)
