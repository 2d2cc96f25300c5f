"""Sliced Recursive Transformer (SReT) for machine translation: a fairseq plugin.

Importing this package, which ``--user-dir sret_fairseq`` does, registers the model ``sret_transformer`` with its
architectures, lets torch load fairseq's checkpoints with ``weights_only=True``, and keeps checkpoints whole.
"""

from sret_fairseq.safe_globals import allow_fairseq_globals

__version__ = "0.1.0"

allow_fairseq_globals()

from sret_fairseq import checkpoints, model  # noqa: E402, F401  (registers the model)

checkpoints.keep_checkpoints_whole()
