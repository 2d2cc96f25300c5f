"""Matrix products on a CPU whose MKL is slow: oneDNN computes them there.

torch gives products of float32 matrices to MKL, which keeps its AVX-512 kernels for Intel's processors. oneDNN comes
with torch as well, uses what the processor has, and is the slower one only for small matrices, by some 10 microseconds
a call. Elsewhere (GPUs, Intel, ARM, other number formats, autocast, TorchScript, torch.compile) all is as torch has it.
"""

import functools
from typing import Optional

import torch
import torch.nn.functional as F
from fairseq.modules.quantization.scalar import utils as scalar_quantization
from torch import Tensor, nn

ONEDNN_PAYS = 2**20  # multiplications of a product from which on oneDNN is the faster one


@functools.cache
def mkl_is_slow() -> bool:
    """Whether torch has MKL and oneDNN, and the processor is not Intel's. Does not depend on any measurement, so that
    a training that is resumed computes as before."""
    if not (torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()):
        return False
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as processors:
            vendor = next((line for line in processors if line.startswith("vendor_id")), "")
    except OSError:
        return False
    return bool(vendor) and "GenuineIntel" not in vendor


def onednn_pays(x: Tensor, weight: Tensor) -> bool:
    """Whether ``x @ weight.T``, x: (..., C) and weight: (D, C), is a matter for oneDNN."""
    if torch.compiler.is_compiling():  # Inductor has a product by oneDNN of its own, and none with parameters for this
        return False
    return (
        x.numel() * weight.size(0) >= ONEDNN_PAYS
        and mkl_is_slow()
        and x.dtype == weight.dtype == torch.float32
        and x.device.type == "cpu"
        and torch.backends.mkldnn.enabled
        and not torch.is_autocast_enabled("cpu")
        and not torch.jit.is_tracing()
    )


def onednn_linear(x: Tensor, weight: Tensor, bias: Optional[Tensor] = None) -> Tensor:
    """``F.linear`` by oneDNN, without a gradient; the weight may be packed."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


def product(a: Tensor, b: Tensor) -> Tensor:
    """``a @ b`` of two matrices, without a gradient where oneDNN computes it."""
    return onednn_linear(a, b.t()) if onednn_pays(a, b.t()) else torch.mm(a, b)


class OneDnnLinear(torch.autograd.Function):
    """``F.linear`` by oneDNN, with its gradient."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Optional[Tensor]) -> Tensor:
        ctx.save_for_backward(x, weight)
        return onednn_linear(x, weight, bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient: Tensor):
        x, weight = ctx.saved_tensors
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad
        rows = gradient.flatten(0, -2)
        x_gradient = product(rows, weight).view_as(x) if needs_x else None
        weight_gradient = product(rows.t(), x.flatten(0, -2)) if needs_weight else None
        return x_gradient, weight_gradient, rows.sum(dim=0) if needs_bias else None


class Linear(nn.Linear):
    """``nn.Linear``, by oneDNN where that pays."""

    packed: Optional[Tensor] = None
    __jit_ignored_attributes__ = ["packed"]  # noqa: RUF012 (TorchScript reads it so)

    def make_generation_fast_(self, **_) -> None:
        """Keep the weight in oneDNN's own form as well; fairseq calls this before it translates.

        Then only load_state_dict changes the weight: of another change this copy would know nothing.
        """
        if mkl_is_slow() and self.weight.dtype == torch.float32 and self.weight.device.type == "cpu":
            self.packed = torch.ops.mkldnn._reorder_linear_weight(self.weight.detach(), 1)

    def _load_from_state_dict(self, *args) -> None:
        """Forget the packed weight, which is of the old one."""
        self.packed = None
        super()._load_from_state_dict(*args)

    def __getstate__(self):
        """Copies go without the packed weight, which torch cannot copy."""
        return {name: value for name, value in self.__dict__.items() if name != "packed"}

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., D)."""
        if torch.jit.is_scripting():
            return F.linear(x, self.weight, self.bias)
        return self.eager(x)

    @torch.jit.unused
    def eager(self, x: Tensor) -> Tensor:
        """The same, outside of TorchScript."""
        if not onednn_pays(x, self.weight):
            return F.linear(x, self.weight, self.bias)
        if torch.is_grad_enabled():
            return OneDnnLinear.apply(x, self.weight, self.bias)
        return onednn_linear(x, self.weight if self.packed is None else self.packed, self.bias)


# For --quant-noise-scalar, which looks for layers by their very class.
scalar_quantization.MAPPING[Linear] = scalar_quantization.MAPPING[nn.Linear]
