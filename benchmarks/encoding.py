"""What the benchmarks of length and depth measure of an encoder: a forward pass, and a training step."""

from typing import Callable, Dict

import torch
from torch import Tensor, nn


def encoder_runs(model: nn.Module, batch: dict) -> Dict[str, Callable[[], None]]:
    """By name, functions that run the encoder once on a batch of sources.

    Args:
        model: on its device.
        batch: ``src_tokens`` (B, S) and ``src_lengths`` (B), on the same device.
    """
    encoder = model.encoder

    def encode() -> Tensor:
        return encoder(batch["src_tokens"], src_lengths=batch["src_lengths"])["encoder_out"][0]

    @torch.no_grad()
    def forward() -> None:
        encoder.eval()
        encode()

    def training_step() -> None:
        encoder.train()
        out = encode()
        # Any gradient but that of the sum, which the final LayerNorm turns into rounding errors near zero.
        out.backward(gradient_like(out))
        encoder.zero_grad(set_to_none=True)

    return {"forward": forward, "training step": training_step}


def gradient_like(out: torch.Tensor) -> torch.Tensor:
    """A fixed gradient of the shape and format of ``out``."""
    steps = torch.arange(out.numel(), device=out.device, dtype=torch.float32)
    return steps.sin().view_as(out).to(out.dtype)
