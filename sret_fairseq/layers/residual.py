"""Residual connections with learnable coefficients (LRC)."""

from typing import Any, Optional, Tuple

import torch
from fairseq.modules import LayerNorm
from torch import Tensor, nn

from sret_fairseq.layers.dropout import Dropout


def dot(x: Tensor, y: Tensor, like: Tensor) -> Tensor:
    """The sum of ``x * y``, (T, B, C) both, over all that shares one coefficient: (1,) or (C,), as ``like``."""
    on_cpu_in_bfloat16 = x.dtype == torch.bfloat16 and x.device.type == "cpu"  # for which torch.dot is a slow loop
    if like.numel() == 1 and x.dtype == y.dtype and not on_cpu_in_bfloat16:
        result = torch.dot(x.flatten(), y.flatten())
    else:  # torch adds up numbers of 16 bits in 32
        result = (x * y).sum(dim=(0, 1) if like.numel() > 1 else (0, 1, 2))
    return result.to(like.dtype).view_as(like)


def in_16_bits(x: Tensor) -> bool:
    """Whether x is of half precision."""
    return x.dtype == torch.float16 or x.dtype == torch.bfloat16


def scaled(x: Tensor, offset: Tensor) -> Tensor:
    """``(1 + d) * x`` of x: (T, B, C) and d: (1,) or (C,). In 16 bits ``1 + d`` would be rounded to coarse steps."""
    return torch.addcmul(x, x, offset.to(x.dtype))


class ScaledSum(torch.autograd.Function):
    """``(1 + a * d1) * x + a * (1 + d2) * f``: few passes over memory, half of autograd's in float32.

    d1 and d2 are (1,) or (C,), or None for a coefficient that is fixed at 1; a is a number, the scale.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, branch: Tensor, identity: Optional[Tensor], residual: Optional[Tensor], scale: float
    ) -> Tensor:
        ctx.save_for_backward(None if identity is None else x, None if residual is None else branch, identity, residual)
        ctx.dtypes, ctx.scale = (x.dtype, branch.dtype), scale
        return scaled_sum(x, branch, identity, residual, scale)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tuple[Optional[Tensor], ...]:
        x, branch, identity, residual = ctx.saved_tensors
        scale = ctx.scale
        x_gradient, branch_gradient, identity_gradient, residual_gradient = gradient, gradient, None, None
        if identity is not None:
            x_gradient = scaled(gradient, times(identity, scale))
            identity_gradient = times(dot(gradient, x, identity), scale)
        if residual is not None:
            if scale == 1.0:
                branch_gradient = scaled(gradient, residual)
            else:  # in float32 at least, see ResidualCoefficients.combine
                branch_gradient = gradient * (scale * (1 + residual.to(gradient.dtype)))
            residual_gradient = times(dot(gradient, branch, residual), scale)
        elif scale != 1.0:
            branch_gradient = gradient * scale
        x_dtype, branch_dtype = ctx.dtypes
        return x_gradient.to(x_dtype), branch_gradient.to(branch_dtype), identity_gradient, residual_gradient, None


def times(x: Tensor, scale: float) -> Tensor:
    """``scale * x``."""
    return x if scale == 1.0 else scale * x


def scaled_sum(
    x: Tensor, branch: Tensor, identity: Optional[Tensor], residual: Optional[Tensor], scale: float
) -> Tensor:
    """``(1 + a * d1) * x + a * (1 + d2) * f``, all (T, B, C), in x's number format; see ScaledSum."""
    if identity is not None:
        x = scaled(x, times(identity, scale))
    if residual is None:
        return torch.add(x, branch, alpha=scale)
    branch = branch.to(x.dtype)
    if in_16_bits(x):
        return torch.add(x, scaled(branch, residual), alpha=scale)
    return torch.addcmul(x, branch, 1 + residual.to(x.dtype), value=scale)


def residual_scale(cfg: Any, passes: int) -> float:
    """a, by which ``--depth-scaled-residuals`` multiplies what a branch adds to the stream: 1 / passes; else 1.

    A branch ``x + a * f(LN(x))`` that a token passes R times adds R * a * f: the stream hardly turns between the
    passes, so they add up, and so do the changes that one update of the shared weights makes in all of them. Adam's
    updates do not depend on the size of the gradient, so smaller initial weights would only defer that. With a = 1 / R
    sums and changes are those of one pass: U blocks x R passes start as U ordinary blocks do, each step of theirs
    taken in R small ones (Euler's method for dx/dt = f(x)). The same a bounds c1: its R-th power is a factor of
    the stream, and (1 + d1 / R) ** R < exp(d1).

    Args:
        cfg: the TransformerConfig, with this project's options beside fairseq's.
        passes: R, of the training, whatever runs later.
    """
    return 1 / passes if cfg.depth_scaled_residuals else 1.0


class ResidualCoefficients(nn.Module):
    """``c1 * x + c2 * f`` with learnable ``c1`` and ``c2``, initially 1 (LRC, as in SReT).

    With a scale a, see ``residual_scale``, it is ``x + a * ((c1 - 1) * x + c2 * f)``, in float32 at least: a bfloat16
    would round most of a hundredth of a branch away.

    The parameters are the offsets ``d1 = c1 - 1`` and ``d2 = c2 - 1``. Near 1 a bfloat16 has steps of 4e-3, which
    would swallow every update; near 0 its steps are fine enough. And weight decay pulls a coefficient to 1.

    Args:
        design: which coefficients learn: ``both``, ``residual`` (c2), ``identity`` (c1) or ``none``.
        channels: 1 for scalars, or C for one coefficient per channel.
        passes: 1 when all passes share the coefficients, or their number when each has its own. Later passes use the
            last one's.
        scale: a.
    """

    def __init__(self, design: str, channels: int, passes: int, scale: float = 1.0):
        super().__init__()
        self.channels, self.passes, self.scale = channels, passes, scale
        learns_identity = design in ("both", "identity")
        learns_residual = design in ("both", "residual")
        self.identity = nn.Parameter(torch.zeros(passes, channels)) if learns_identity else None
        self.residual = nn.Parameter(torch.zeros(passes, channels)) if learns_residual else None

    def combine(self, x: Tensor, branch: Tensor, pass_index: int) -> Tensor:
        """Both inputs and the result: (T, B, C). A method of its own: calling a module costs more than the sum."""
        if self.scale != 1.0 and in_16_bits(x):
            x = x.float()
        row = min(pass_index, self.passes - 1)
        identity, residual = self.row_of(self.identity, row), self.row_of(self.residual, row)
        learns = identity is not None or residual is not None
        if learns and self.training and not torch.jit.is_scripting():
            return self.trained_sum(x, branch, identity, residual)
        return scaled_sum(x, branch, identity, residual, self.scale)

    def row_of(self, offsets: Optional[Tensor], row: int) -> Optional[Tensor]:
        """The offsets of a pass: (1,) or (C,). An index would have a tensor of zeros as its gradient."""
        if offsets is None:
            return None
        return offsets.view(-1) if self.passes == 1 else offsets[row]

    @torch.jit.unused
    def trained_sum(self, x: Tensor, branch: Tensor, identity: Optional[Tensor], residual: Optional[Tensor]) -> Tensor:
        """``scaled_sum`` with a gradient of its own, which TorchScript cannot compile."""
        return ScaledSum.apply(x, branch, identity, residual, self.scale)


@torch.jit.interface
class LastLayer:
    """The last layer of a sublayer's function as TorchScript has to know it, to be given one."""

    def forward(self, input: Tensor) -> Tensor:  # as nn.Linear calls it
        pass


class ResidualConnection(nn.Module):
    """What surrounds the function f of a sublayer: LayerNorm, dropout, coefficients.

    Pre-norm: ``x = c1 * x + c2 * dropout(f(LN(x)))``. Post-norm: ``x = LN(c1 * x + c2 * dropout(f(x)))``.
    With ``--depth-scaled-residuals`` see ``residual_scale``. A sublayer calls ``enter``, then f without its last
    layer, then ``leave``.

    Args:
        cfg: the TransformerConfig, with this project's options beside fairseq's.
        embed_dim: C.
        normalize_before: pre-norm if True.
        passes: how many passes the training makes.
        shared: whether all of them go through this connection, or one of them alone.
    """

    def __init__(self, cfg: Any, embed_dim: int, normalize_before: bool, passes: int, shared: bool = True):
        super().__init__()
        self.normalize_before = normalize_before
        self.layer_norm = LayerNorm(embed_dim, export=cfg.export)
        self.dropout = Dropout(cfg.dropout, module_name=self.__class__.__name__)
        self.coefficients = ResidualCoefficients(
            cfg.residual_coefficients,
            channels=embed_dim if cfg.residual_coefficient_size == "channel" else 1,
            passes=passes if shared and cfg.residual_coefficients_per_pass else 1,
            scale=residual_scale(cfg, passes),
        )
        self.scaled = self.coefficients.scale != 1.0

    def enter(self, x: Tensor) -> Tensor:
        """The input of f, x: (T, B, C) -> (T, B, C)."""
        if self.scaled:  # and the stream wide, see ResidualCoefficients
            x = x.to(self.layer_norm.weight.dtype)
        return self.layer_norm(x) if self.normalize_before else x

    def leave(self, x: Tensor, hidden: Tensor, last: LastLayer, pass_index: int) -> Tensor:
        """The new stream from the old one and what the last layer of f reads.

        Args:
            x: (T, B, C).
            hidden: (T, B, H).
            last: H -> C.
            pass_index: which pass this is.

        Returns:
            (T, B, C).
        """
        branch = last.forward(hidden) if torch.jit.is_scripting() else last(hidden)
        x = self.coefficients.combine(x, self.dropout(branch), pass_index)
        if self.normalize_before:
            return x
        return self.layer_norm(x.to(self.layer_norm.weight.dtype) if self.scaled else x)
