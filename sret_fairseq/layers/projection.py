"""Two-layer perceptrons: a block's feed-forward network, and the non-linear projection (NLL) after each pass."""

from fairseq import utils
from fairseq.modules.fairseq_dropout import FairseqDropout
from torch import Tensor, nn

from sret_fairseq.layers.residual import ResidualConnection


class FeedForward(nn.Module):
    """``W2(dropout(activation(W1(x))))``.

    Args:
        cfg: the TransformerConfig; gives the dropout after the activation.
        embed_dim: C.
        hidden_dim: the width between the two layers.
        activation: a name of fairseq's ``--activation-fn``.
    """

    def __init__(self, cfg, embed_dim: int, hidden_dim: int, activation: str):
        super().__init__()
        self.fc1 = nn.Linear(embed_dim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, embed_dim)
        self.activation = utils.get_activation_fn(activation)
        # relu_dropout is the name that old fairseq configurations use.
        dropout = float(cfg.activation_dropout or cfg.relu_dropout or 0.0)
        self.dropout = FairseqDropout(dropout, module_name=self.__class__.__name__)
        self.may_drop = dropout > 0

    def forward(self, x: Tensor) -> Tensor:
        """(T, B, C) -> (T, B, C)."""
        x = self.activation(self.fc1(x))
        return self.fc2(self.dropout(x) if self.may_drop else x)


class NonLinearProjection(nn.Module):
    """The NLL of one pass: ``x = a * x + b * W2(GELU(W1(LN(x))))`` with W1: C -> ratio * C.

    With post-norm blocks it is post-norm as well: ``x = LN(a * x + b * W2(GELU(W1(x))))``.

    Args:
        cfg: the TransformerConfig; gives ``nll_ratio`` > 0, dropout and the design of the coefficients.
        embed_dim: C.
        normalize_before: pre-norm if True.
        passes: how many the training makes, each with an NLL of its own.
    """

    def __init__(self, cfg, embed_dim: int, normalize_before: bool, passes: int):
        super().__init__()
        self.mlp = FeedForward(cfg, embed_dim, int(cfg.nll_ratio * embed_dim), activation="gelu")
        self.residual = ResidualConnection(cfg, embed_dim, normalize_before, passes, shared=False)

    def forward(self, x: Tensor) -> Tensor:
        """(T, B, C) -> (T, B, C)."""
        return self.residual.leave(x, self.mlp(self.residual.enter(x)), pass_index=0)


def build_projections(cfg, embed_dim: int, normalize_before: bool, blocks: int, passes: int) -> nn.ModuleList:
    """The NLLs of a recursion group, [trained pass][block]; with ``--nll-ratio 0`` each is the identity."""

    def build() -> nn.Module:
        return NonLinearProjection(cfg, embed_dim, normalize_before, passes) if cfg.nll_ratio > 0 else nn.Identity()

    return nn.ModuleList(nn.ModuleList(build() for _ in range(blocks)) for _ in range(passes))
