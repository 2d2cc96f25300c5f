"""Models whose heads are as wide as the fused attention kernels of GPUs ask for, and batches for them.

The models of models.py have heads of 4 and 12 channels, which on a GPU leaves the plain attention alone to be tested.
"""

from typing import Dict, List, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sret_fairseq.model import SretTransformerModel
from support.models import COMBINATIONS, PAD, build_sret, logits, pad, source, target

WIDE = {
    "encoder_embed_dim": 64,
    "encoder_ffn_embed_dim": 80,
    "encoder_attention_heads": 2,
    "decoder_embed_dim": 96,
    "decoder_ffn_embed_dim": 112,
    "decoder_attention_heads": 6,
    "dropout": 0.0,
}
# Sentences on both sides of models.py's GATHER_FROM: of the first batch the slices are gathered, of the second masked.
BATCHES: List[Tuple[Tensor, Tensor]] = [
    (
        pad([source(7), source(12, seed=1), source(2, seed=2)], left=True),
        pad([target(5), target(9, seed=1), target(3, seed=2)]),
    ),
    (pad([source(6, seed=3), source(1, seed=4)], left=True), pad([target(7, seed=3), target(1, seed=4)])),
]


def build_wide(name: str = "defaults", **overrides) -> SretTransformerModel:
    """A wide model of COMBINATIONS, whose training draws no random numbers unless ``overrides`` say so."""
    drawn = {"slice_permutation": "interleave"} if name == "random-slices" else {}
    return build_sret(**{**WIDE, **COMBINATIONS[name], **drawn, **overrides})


def loss_and_gradients(model: torch.nn.Module, device: str) -> Tuple[Tensor, Dict[str, Tensor]]:
    """The loss of BATCHES in training mode and its gradients by name, in float64 on the CPU.

    The loss itself is taken in float32 at least, as criterions do. Parameters without a gradient are left out.
    """
    model.train()
    loss = torch.zeros((), device=device)
    for sources, targets in BATCHES:
        out = logits(model, sources.to(device), targets.to(device))
        wide = out.to(torch.promote_types(out.dtype, torch.float32)).flatten(0, 1)
        loss = loss + F.cross_entropy(wide, targets.to(device).flatten(), ignore_index=PAD)
    loss.backward()
    found = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    return loss.detach().double().cpu(), {name: gradient.double().cpu() for name, gradient in found.items()}


def worst_error(found: Dict[str, Tensor], expected: Dict[str, Tensor]) -> Tuple[float, str]:
    """The largest error of a parameter's gradient, and which parameter's.

    Relative to its norm, plus that of a typical gradient: some are zero but for rounding, such as those of a bias
    before a softmax.
    """
    assert found.keys() == expected.keys()
    typical = torch.stack([gradient.norm() for gradient in expected.values()]).square().mean().sqrt()
    return max(
        (float((found[name] - gradient).norm() / (gradient.norm() + typical)), name)
        for name, gradient in expected.items()
    )
