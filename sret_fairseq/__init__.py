"""Sliced Recursive Transformer (SReT) for machine translation: a fairseq plugin.

Importing this package, which ``--user-dir sret_fairseq`` does, registers the model ``sret_transformer`` with its
architectures and criterions, lets torch load fairseq's checkpoints with ``weights_only=True``, keeps checkpoints
whole, and makes ``--bf16`` work without a TPU.
"""

from sret_fairseq.safe_globals import allow_fairseq_globals

__version__ = "0.1.0"

allow_fairseq_globals()

from sret_fairseq import (  # noqa: E402, F401  (registers what they define)
    checkpoints,
    criterion,
    distillation,
    mixed_depth,
    model,
    precision,
)

checkpoints.keep_checkpoints_whole()
precision.allow_bfloat16()
