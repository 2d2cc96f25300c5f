"""Sliced Recursive Transformer (SReT) for machine translation: a fairseq plugin.

Importing this package, which ``--user-dir sret_fairseq`` does, registers the model ``sret_transformer`` with its
architectures and criterions, lets torch load fairseq's checkpoints with ``weights_only=True``, keeps checkpoints
whole, makes ``--bf16`` work without a TPU, lets several processes on CPUs end without an abort, and lets fairseq
0.12.2's own ``transformer`` run with torch 2.
"""

from sret_fairseq.safe_globals import allow_fairseq_globals

__version__ = "0.1.0"

allow_fairseq_globals()

from sret_fairseq import (  # noqa: E402, F401  (registers what they define)
    checkpoints,
    criterion,
    distillation,
    fast_path,
    mixed_depth,
    model,
    precision,
    process_group,
)

checkpoints.keep_checkpoints_whole()
precision.allow_bfloat16()
fast_path.close_fast_path()
process_group.leave_at_exit()
