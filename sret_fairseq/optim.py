"""``--optimizer fused_adam``: fairseq's ``adam``, a few launches for all parameters instead of some ten for each.

The arithmetic, the options and the state in a checkpoint are those of ``adam``: a training may change between the two.
"""

import math
from collections import defaultdict
from typing import Any, Callable, Dict, List, Optional, Tuple

import torch
from fairseq.optim import FairseqOptimizer, register_optimizer
from fairseq.optim.adam import Adam, FairseqAdam, FairseqAdamConfig
from torch import Tensor

from sret_fairseq.errors import require
from sret_fairseq.layers.residual import in_16_bits


class FusedAdam(Adam):
    """fairseq's ``Adam`` (weight decay decoupled, as in AdamW) by torch's fused kernel."""

    @torch.no_grad()
    def step(self, closure: Optional[Callable[[], float]] = None) -> Optional[float]:
        """Update every parameter that has a gradient.

        Args:
            closure: computes the loss and the gradients anew, or None.

        Returns:
            the closure's loss.

        Raises:
            RuntimeError: a gradient is sparse.
        """
        loss = None if closure is None else closure()
        for group in self.param_groups:
            together: Dict[Tuple[torch.device, torch.dtype, int], List[Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    step = self.counted(parameter)
                    if in_16_bits(parameter):
                        self.update_in_16_bits(parameter, step, group)
                    else:
                        together[parameter.device, parameter.dtype, step].append(parameter)
            for (_, _, step), parameters in together.items():
                self.update(parameters, parameters, [parameter.grad for parameter in parameters], step, group)
        return loss

    def counted(self, parameter: Tensor) -> int:
        """The number of this update of a parameter, from 1; its state is made before the first one."""
        if parameter.grad.is_sparse:
            raise RuntimeError("fused_adam does not support sparse gradients.")
        state = self.state[parameter]
        wide = torch.float32 if in_16_bits(parameter) else parameter.dtype
        if not state:
            state["step"] = 0
            for moment in ("exp_avg", "exp_avg_sq"):
                state[moment] = torch.zeros_like(parameter, dtype=wide)
        for moment in ("exp_avg", "exp_avg_sq"):  # of a checkpoint, fairseq may leave them on the CPU
            state[moment] = state[moment].to(parameter.device, wide)
        state["step"] += 1
        return state["step"]

    def update_in_16_bits(self, parameter: Tensor, step: int, group: dict) -> None:
        """One at a time, so that no more than one wide copy takes memory."""
        wide = parameter.float()
        self.update([parameter], [wide], [parameter.grad.float()], step, group)
        parameter.copy_(wide)

    def update(
        self, parameters: List[Tensor], values: List[Tensor], gradients: List[Tensor], step: int, group: dict
    ) -> None:
        """Update ``values`` in place, by the state of ``parameters``; all of one device and number format."""
        beta1, beta2 = group["betas"]
        if group["weight_decay"] != 0:  # the kernel rounds 1 - lr * weight_decay to float32, which adds up
            torch._foreach_add_(values, values, alpha=-group["lr"] * group["weight_decay"])
        torch._fused_adamw_(
            values,
            gradients,
            [self.state[parameter]["exp_avg"] for parameter in parameters],
            [self.state[parameter]["exp_avg_sq"] for parameter in parameters],
            [],
            [torch.full((), step, dtype=torch.float32, device=values[0].device)] * len(values),
            lr=group["lr"],
            beta1=beta1,
            beta2=beta2,
            weight_decay=0.0,
            # fairseq adds eps to the root of the uncorrected moment, torch to that of the corrected one.
            eps=group["eps"] / math.sqrt(1 - beta2**step),
            amsgrad=False,
            maximize=False,
        )


@register_optimizer("fused_adam", dataclass=FairseqAdamConfig)
class FairseqFusedAdam(FairseqAdam):
    """The optimizer that ``--optimizer fused_adam`` builds.

    Args:
        cfg: the options of fairseq's ``adam``.
        params: the parameters.

    Raises:
        OptionError: ``--fp16-adam-stats``.
    """

    def __init__(self, cfg: FairseqAdamConfig, params: Any):
        FairseqOptimizer.__init__(self, cfg)
        require(
            not cfg.fp16_adam_stats,
            "--fp16-adam-stats needs apex, which only --optimizer adam uses; leave it out.",
            who="fused_adam",
        )
        self._optimizer = FusedAdam(params, **self.optimizer_config)

    def clip_grad_norm(self, max_norm: float, aggregate_norm_fn: Optional[Callable[[Tensor], Tensor]] = None) -> Tensor:
        """Scale the gradients down to the norm ``max_norm``, or leave them where that is 0.

        Args:
            max_norm: the largest norm of all gradients together.
            aggregate_norm_fn: makes the norm of all processes from that of this one, or None.

        Returns:
            their norm before, a scalar in float32.
        """
        gradients = [parameter.grad for parameter in self.params if parameter.grad is not None]
        if len({gradient.device for gradient in gradients}) != 1 or any(hasattr(p, "expert") for p in self.params):
            return super().clip_grad_norm(max_norm, aggregate_norm_fn)
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients, 2, torch.float32)))
        if aggregate_norm_fn is not None:
            norm = aggregate_norm_fn(norm)
        if max_norm > 0:
            torch._foreach_mul_(gradients, (max_norm / (norm + 1e-6)).clamp_(max=1))
        return norm


# fairseq's Trainer resumes a checkpoint only with an optimizer whose class has the same name.
FairseqFusedAdam.__name__ = FairseqAdam.__name__
