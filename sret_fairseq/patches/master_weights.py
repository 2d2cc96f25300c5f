"""``--bf16`` or ``--fp16-no-flatten-grads`` with ``--optimizer fused_adam``: all float32 copies are handled at once.

fairseq copies the gradient and the weight of each parameter by themselves, and fills each copy with zeros: as many
launches as all the rest of an update of a small model. With fairseq's own optimizers that stays so.
"""

from typing import Any

import torch
from fairseq.optim import FP16Optimizer


class ForeachFP16Optimizer(FP16Optimizer):
    """fairseq's ``FP16Optimizer`` with few launches where each parameter has a float32 copy of its own."""

    def _sync_fp16_grads_to_fp32(self) -> None:
        """Copy the gradients that backward has made; the others have been zeros since ``zero_grad``."""
        if self.has_flat_params:
            super()._sync_fp16_grads_to_fp32()
        elif self._needs_sync:
            pairs = [pair for pair in zip(self.fp16_params, self.fp32_params) if pair[0].grad is not None]
            torch._foreach_copy_([wide.grad for _, wide in pairs], [narrow.grad for narrow, _ in pairs])
            self._needs_sync = False

    @torch.no_grad()
    def _sync_fp32_params_to_fp16(self) -> None:
        """Copy the weights back."""
        if self.has_flat_params:
            super()._sync_fp32_params_to_fp16()
        else:
            torch._foreach_copy_(self.fp16_params, self.fp32_params)

    def zero_grad(self) -> None:
        """Fill the copies with zeros, and let fairseq do the rest."""
        if self.has_flat_params:
            super().zero_grad()
            return
        gradients = [wide.grad for wide in self.fp32_params]
        torch._foreach_zero_(gradients)
        self.set_gradients([None] * len(gradients))
        super().zero_grad()
        self.set_gradients(gradients)

    def set_gradients(self, gradients: list) -> None:
        """Give each float32 copy its gradient, or None."""
        for wide, gradient in zip(self.fp32_params, gradients, strict=True):
            wide.grad = gradient


def handle_copies_at_once() -> None:
    """Make fairseq's Trainer use it with ``fused_adam``, in this process."""
    build = FP16Optimizer.build_optimizer.__func__

    def build_optimizer(cls: Any, cfg: Any, params: Any, **kwargs: Any) -> Any:
        chosen = ForeachFP16Optimizer if cfg.optimizer._name == "fused_adam" else cls
        return build(chosen, cfg, params, **kwargs)

    FP16Optimizer.build_optimizer = classmethod(build_optimizer)
    # Trainer resumes a checkpoint only with an optimizer whose class has the same name.
    ForeachFP16Optimizer.__name__ = FP16Optimizer.__name__
