"""Sliced Recursive Transformer (SReT) for machine translation: a fairseq plugin.

Importing this package, which ``--user-dir sret_fairseq`` does, registers the model ``sret_transformer`` with its
architectures, criterions and the optimizer ``fused_adam``, and mends in fairseq and torch what ``patches`` names.
"""

from sret_fairseq import model, optim, patches
from sret_fairseq.criterions import chunked, distillation, mixed_depth

__all__ = ["chunked", "distillation", "mixed_depth", "model", "optim"]  # which register what they define
__version__ = "0.1.0"

patches.apply()
