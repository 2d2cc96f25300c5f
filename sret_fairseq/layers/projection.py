"""Two-layer perceptrons: a block's feed-forward network, and the non-linear projection (NLL) after each pass."""

from typing import Any

import torch
import torch.nn.functional as F
from fairseq import utils
from torch import Tensor, nn

from sret_fairseq.layers.dropout import Dropout
from sret_fairseq.layers.residual import ResidualConnection


class FeedForward(nn.Module):
    """``W2(dropout(activation(W1(x))))``.

    Args:
        cfg: the TransformerConfig; gives the dropout after the activation.
        embed_dim: C.
        hidden_dim: the width between the two layers.
        activation: a name of fairseq's ``--activation-fn``.
    """

    def __init__(self, cfg: Any, embed_dim: int, hidden_dim: int, activation: str):
        super().__init__()
        self.fc1 = nn.Linear(embed_dim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, embed_dim)
        # fairseq's own gelu computes a float32 copy of its input; torch's computes as precisely without.
        self.activation = F.gelu if activation == "gelu" else utils.get_activation_fn(activation)
        # relu_dropout is the name that old fairseq configurations use.
        dropout = float(cfg.activation_dropout or cfg.relu_dropout or 0.0)
        self.dropout = Dropout(dropout, module_name=self.__class__.__name__)
        self.may_drop = dropout > 0

    def hidden(self, x: Tensor) -> Tensor:
        """What the last layer, ``fc2``, reads: (T, B, C) -> (T, B, H)."""
        x = self.activation(self.fc1(x))
        return self.dropout(x) if self.may_drop else x


class NonLinearProjection(nn.Module):
    """The NLL of one pass: ``x = c1 * x + c2 * W2(GELU(W1(LN(x))))`` with W1: C -> ratio * C.

    With post-norm blocks it is post-norm as well: ``x = LN(c1 * x + c2 * W2(GELU(W1(x))))``.

    Args:
        cfg: the TransformerConfig, with this project's options beside fairseq's; ``nll_ratio`` is above 0.
        side: ``encoder`` or ``decoder``.
    """

    def __init__(self, cfg: Any, side: str):
        super().__init__()
        part, passes = getattr(cfg, side), getattr(cfg, f"{side}_trained_recursions")
        self.mlp = FeedForward(cfg, part.embed_dim, int(cfg.nll_ratio * part.embed_dim), activation="gelu")
        self.residual = ResidualConnection(cfg, part.embed_dim, part.normalize_before, passes, shared=False)

    def forward(self, x: Tensor) -> Tensor:
        """(T, B, C) -> (T, B, C)."""
        return self.residual.leave(x, self.mlp.hidden(self.residual.enter(x)), self.mlp.fc2, pass_index=0)


class NoProjection(nn.Module):
    """What stands for an NLL with ``--nll-ratio 0``."""

    def forward(self, x: Tensor) -> Tensor:
        """x, as it is."""
        return x


@torch.jit.interface
class AnyProjection:
    """An NLL or none as TorchScript has to know them, to pick one by a number."""

    def forward(self, x: Tensor) -> Tensor:
        pass


class PassProjections(nn.ModuleList):
    """The NLLs of one pass, one for each block of a recursion group.

    Args:
        cfg: the TransformerConfig, with this project's options beside fairseq's.
        side: ``encoder`` or ``decoder``.
        blocks: how many there are.
    """

    def __init__(self, cfg: Any, side: str, blocks: int):
        super().__init__(NonLinearProjection(cfg, side) if cfg.nll_ratio > 0 else NoProjection() for _ in range(blocks))

    def forward(self, x: Tensor, block: int) -> Tensor:
        """Behind the block of this number; (T, B, C) -> (T, B, C). Python calls the NLL itself."""
        projection: AnyProjection = self[block]
        return projection.forward(x)


@torch.jit.interface
class AnyPassProjections:
    """The same as TorchScript has to know it, to pick a pass by a number."""

    def forward(self, x: Tensor, block: int) -> Tensor:
        pass
