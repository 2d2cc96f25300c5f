"""Sliced Recursive Transformer (SReT) for machine translation: a fairseq plugin.

Importing this package, which ``--user-dir sret_fairseq`` does, registers the model ``sret_transformer`` with its
architectures, criterions and the optimizer ``fused_adam``, lets torch load fairseq's checkpoints with
``weights_only=True``, reads checkpoints through a gate and copies them whole, makes ``--bf16`` work without a TPU,
handles all float32 copies of weights at once for ``fused_adam``, ends ``fairseq-hydra-train`` with the sentence of a
refusal, lets several processes on CPUs end without an abort, and lets fairseq 0.12.2's own ``transformer`` run with
torch 2.
"""

from sret_fairseq import model, optim, patches
from sret_fairseq.criterions import chunked, distillation, mixed_depth

__all__ = ["chunked", "distillation", "mixed_depth", "model", "optim"]  # which register what they define
__version__ = "0.1.0"

patches.apply()
