"""Which classes torch may rebuild when it reads fairseq's checkpoints with ``weights_only=True``.

The list holds data only: whatever is missing from it is refused by ``torch.load`` before any of its code runs.
It imports neither fairseq nor the rest of this package, so that a script that only reads checkpoints starts fast.
"""

import argparse

import numpy as np
import torch

# The name of the module that defines NumPy's rebuilding functions is part of a checkpoint: ``numpy.core`` when it
# was written with NumPy 1, ``numpy._core`` with NumPy 2. Either may read the other's.
NUMPY_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")

# Numbers only: an array of Python objects stays refused.
NUMBERS = (
    [np.bool_]
    + [np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64]
    + [np.float16, np.float32, np.float64]
)


def fairseq_globals() -> list:
    """What fairseq pickles beyond tensors and Python's own containers, as ``add_safe_globals`` takes it.

    ``argparse.Namespace`` is in every checkpoint (the options of a model registered with ``add_args``). Metrics that
    are NumPy arrays or numbers, such as the n-gram counts of ``--eval-bleu``, bring the others.
    """
    rebuilders = [np.zeros(1).__reduce__()[0], np.float64(0).__reduce__()[0]]  # _reconstruct and scalar
    named = [(function, f"{module}.{function.__name__}") for module in NUMPY_MODULES for function in rebuilders]
    return [argparse.Namespace, np.ndarray, np.dtype, *named, *{type(np.dtype(number)) for number in NUMBERS}]


def allow_fairseq_globals() -> None:
    """Allow ``torch.load(..., weights_only=True)`` to read fairseq's checkpoints, in this process."""
    torch.serialization.add_safe_globals(fairseq_globals())
