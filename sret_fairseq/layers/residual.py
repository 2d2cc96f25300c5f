"""Residual connections with learnable coefficients (LRC)."""

from typing import Any, Dict, Optional, Tuple

import torch
import torch.nn.functional as F
from fairseq.modules import LayerNorm
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

from sret_fairseq.layers.dropout import Dropout


def dot(x: Tensor, y: Tensor, like: Tensor) -> Tensor:
    """The sum of ``x * y``, (..., C) both, over all that shares one coefficient: (1,) or (C,), as ``like``."""
    on_cpu_in_bfloat16 = x.dtype == torch.bfloat16 and x.device.type == "cpu"  # for which torch.dot is a slow loop
    if like.numel() == 1 and x.dtype == y.dtype and not on_cpu_in_bfloat16:
        result = torch.dot(x.flatten(), y.flatten())
    else:  # torch adds up numbers of 16 bits in 32
        result = (x * y).reshape(-1, like.numel()).sum(dim=0)
    return result.to(like.dtype).view_as(like)


def in_16_bits(x: Tensor) -> bool:
    """Whether x is of half precision."""
    return x.dtype == torch.float16 or x.dtype == torch.bfloat16


def scaled(x: Tensor, offset: Tensor) -> Tensor:
    """``(1 + d) * x`` of x: (..., C), d: (1,), (C,) or (C, 1). In 16 bits ``1 + d`` is rounded to coarse steps."""
    return torch.addcmul(x, x, offset.to(x.dtype))


def times(x: Tensor, scale: float) -> Tensor:
    """``scale * x``."""
    return x if scale == 1.0 else scale * x


def stream_sum(x: Tensor, branch: Tensor, identity: Optional[Tensor]) -> Tensor:
    """``(1 + d1) * x + f``, all (T, B, C), in x's number format."""
    branch = branch.to(x.dtype)
    if identity is None:
        return x + branch
    if in_16_bits(x):
        return scaled(x, identity) + branch
    return torch.addcmul(branch, x, 1 + identity.to(x.dtype))


class StreamSum(torch.autograd.Function):
    """``stream_sum`` with a backward of fewer passes over memory than autograd's, and with less to keep for it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, branch: Tensor, identity: Tensor) -> Tensor:
        ctx.save_for_backward(x, identity)
        ctx.dtype = branch.dtype
        return stream_sum(x, branch, identity)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tuple[Tensor, Tensor, Tensor]:
        x, identity = ctx.saved_tensors
        return scaled(gradient, identity), gradient.to(ctx.dtype), dot(gradient, x, identity)


class ScaledLayer(torch.autograd.Function):
    """``a * (1 + d2)`` times W: (C, H) and b: (C,), the last layer of a sublayer. d2 is (1,) or (C,), a a number.

    So branches, which are as large as the stream, need neither be multiplied nor kept for the gradient of d2.
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor, bias: Tensor, residual: Tensor, scale: float) -> Tuple[Tensor, Tensor]:
        ctx.save_for_backward(weight, bias, residual)
        ctx.scale = scale
        return times(scaled(weight, residual[:, None]), scale), times(scaled(bias, residual), scale)

    @staticmethod
    def backward(ctx: Any, weight_gradient: Tensor, bias_gradient: Tensor) -> Tuple[Optional[Tensor], ...]:
        weight, bias, residual = ctx.saved_tensors
        weight_gradient, bias_gradient = times(weight_gradient, ctx.scale), times(bias_gradient, ctx.scale)
        by_channel = residual.numel() > 1
        products = (
            dot(weight_gradient.t(), weight.t(), residual) if by_channel else dot(weight_gradient, weight, residual)
        )
        return (
            scaled(weight_gradient, residual[:, None]),
            scaled(bias_gradient, residual),
            products + dot(bias_gradient, bias, residual),
            None,
        )


def is_plain(module: nn.Module, *kinds: type) -> bool:
    """Whether a module is just one of these: nobody has put anything in its place, or listens to its calls."""
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    return type(module) in kinds and "forward" not in vars(module) and not any(hooks) and not _has_any_global_hook()


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
        residual = self.row_of(self.residual, pass_index)
        branch = branch if residual is None else scaled(branch.to(self.wide(x).dtype), residual)
        return self.add(x, times(branch, self.scale), pass_index)

    def add(self, x: Tensor, branch: Tensor, pass_index: int) -> Tensor:
        """The same of a branch that has its factor already."""
        x, identity = self.wide(x), self.row_of(self.identity, pass_index)
        identity = None if identity is None else times(identity, self.scale)
        if identity is None or torch.jit.is_scripting():
            return stream_sum(x, branch, identity)
        return self.trained_sum(x, branch, identity)

    @torch.jit.unused
    def trained_sum(self, x: Tensor, branch: Tensor, identity: Tensor) -> Tensor:
        """``stream_sum`` with a gradient of its own, which TorchScript cannot compile."""
        return StreamSum.apply(x, branch, identity)

    def scaled_layer(self, last: nn.Linear, pass_index: int) -> Tuple[Tensor, Tensor]:
        """Weight and bias of a branch's last layer, with the branch's factor."""
        residual = self.row_of(self.residual, pass_index)
        if residual is None:
            return times(last.weight, self.scale), times(last.bias, self.scale)
        return ScaledLayer.apply(last.weight, last.bias, residual, self.scale)

    def wide(self, x: Tensor) -> Tensor:
        """x in the format of the stream."""
        return x.float() if self.scale != 1.0 and in_16_bits(x) else x

    def row_of(self, offsets: Optional[Tensor], pass_index: int) -> Optional[Tensor]:
        """The offsets of a pass: (1,) or (C,). Not by an index where one will do: its gradient is a tensor of zeros."""
        if offsets is None:
            return None
        return offsets.view(-1) if self.passes == 1 else offsets[self.row(pass_index)]

    def row(self, pass_index: int) -> int:
        """Which coefficients a pass has."""
        return min(pass_index, self.passes - 1)


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

    layers: Optional[Dict[int, Tuple[Tensor, Tensor]]] = None  # by pass, see ScaledLayers

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
        if not torch.jit.is_scripting() and self.scales(hidden, last):
            x = self.coefficients.add(x, self.dropout(self.scaled_branch(hidden, last, pass_index)), pass_index)
        else:
            branch = last.forward(hidden) if torch.jit.is_scripting() else last(hidden)
            x = self.coefficients.combine(x, self.dropout(branch), pass_index)
        if self.normalize_before:
            return x
        return self.layer_norm(x.to(self.layer_norm.weight.dtype) if self.scaled else x)

    @torch.jit.unused
    def scales(self, hidden: Tensor, last: LastLayer) -> bool:
        """Whether to multiply the last layer instead of what it computes: with gradients, if it is just a product.

        Not in deep loops in 16 bits, where its gradient would be a sum of many that are rounded.
        """
        if self.layers is None or not is_plain(last, nn.Linear) or last.bias is None:
            return False
        return not (self.scaled and in_16_bits(hidden))

    @torch.jit.unused
    def scaled_branch(self, hidden: Tensor, last: LastLayer, pass_index: int) -> Tensor:
        """``c2 * f``, by a layer that is multiplied once for all passes with this coefficient."""
        row = self.coefficients.row(pass_index)
        if row not in self.layers:
            self.layers[row] = self.coefficients.scaled_layer(last, pass_index)
        return F.linear(hidden, *self.layers[row])


class ScaledLayers:
    """While this is entered, residual connections keep the last layers that they have multiplied by coefficients.

    Args:
        module: what contains them.
    """

    def __init__(self, module: nn.Module):
        self.connections = [part for part in module.modules() if isinstance(part, ResidualConnection)]

    def __enter__(self) -> None:
        for connection in self.connections:
            connection.layers = {}

    def __exit__(self, *_: Any) -> None:
        for connection in self.connections:
            connection.layers = None
