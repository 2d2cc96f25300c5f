"""Residual connections with learnable coefficients (LRC)."""

import torch
from fairseq.modules import LayerNorm
from fairseq.modules.fairseq_dropout import FairseqDropout
from torch import Tensor, nn


class ResidualCoefficients(nn.Module):
    """``c1 * x + c2 * f`` with learnable ``c1`` and ``c2``, initially 1 (SReT, "learnable residual coefficients").

    The parameters are the offsets ``d1 = c1 - 1`` and ``d2 = c2 - 1``, and the sum is formed as
    ``(x + f) + d1 * x + d2 * f``. Near 1 a bfloat16 has steps of 4e-3, which would swallow every update; near 0 its
    steps are fine enough. An offset of zero leaves ``x + f`` bit for bit, and weight decay pulls a coefficient to 1.

    Args:
        design: which coefficients learn: ``both``, ``residual`` (c2), ``identity`` (c1) or ``none``.
        channels: 1 for scalars, or C for one coefficient per channel.
        passes: 1 when all passes share the coefficients, or their number when each has its own. Later passes use the
            last one's.
    """

    def __init__(self, design: str, channels: int, passes: int):
        super().__init__()
        self.passes = passes
        learns_identity = design in ("both", "identity")
        learns_residual = design in ("both", "residual")
        self.identity = nn.Parameter(torch.zeros(passes, channels)) if learns_identity else None
        self.residual = nn.Parameter(torch.zeros(passes, channels)) if learns_residual else None

    def forward(self, x: Tensor, branch: Tensor, pass_index: int) -> Tensor:
        """Both inputs and the result: (T, B, C)."""
        row = min(pass_index, self.passes - 1)
        out = x + branch
        if self.identity is not None:
            out = torch.addcmul(out, x, self.identity[row])
        if self.residual is not None:
            out = torch.addcmul(out, branch, self.residual[row])
        return out


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
        self.coefficients = ResidualCoefficients(
            cfg.residual_coefficients,
            channels=embed_dim if cfg.residual_coefficient_size == "channel" else 1,
            passes=passes if cfg.residual_coefficients_per_pass else 1,
        )

    def enter(self, x: Tensor) -> Tensor:
        """The input of f, x: (T, B, C) -> (T, B, C)."""
        return self.layer_norm(x) if self.normalize_before else x

    def leave(self, x: Tensor, branch: Tensor, pass_index: int) -> Tensor:
        """The new stream from the old one and f's output, all (T, B, C)."""
        x = self.coefficients(x, self.dropout(branch), pass_index)
        return x if self.normalize_before else self.layer_norm(x)
