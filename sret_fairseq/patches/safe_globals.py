"""Which classes torch may rebuild when it reads fairseq's checkpoints with ``weights_only=True``.

The list holds data only: whatever is missing from it is refused by ``torch.load`` before any of its code runs. What
fairseq does with the data is another matter: see checkpoints.py.
Resuming on several GPUs needs ``--load-checkpoint-on-all-dp-ranks``: without it fairseq sends the checkpoint from the
first process to the others as pickled omegaconf objects, which are not on the list.

It imports neither fairseq nor the rest of this package, so that a script that only reads checkpoints starts fast.
"""

import argparse

import numpy as np
import torch

# The name of the module that defines NumPy's rebuilding functions is part of a checkpoint: ``numpy.core`` when it
# was written with NumPy 1, ``numpy._core`` with NumPy 2. Either may read the other's.
NUMPY_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")

# Numbers only: an array of Python objects stays refused.
NUMBERS = "? i1 i2 i4 i8 u1 u2 u4 u8 f2 f4 f8".split()  # truth values, integers and floats by their bytes


def fairseq_globals() -> list:
    """What fairseq pickles beyond tensors and Python's own containers, as ``add_safe_globals`` takes it.

    ``argparse.Namespace`` is in every checkpoint (the options of a model registered with ``add_args``). Metrics that
    are NumPy arrays or numbers, such as the n-gram counts of ``--eval-bleu``, bring the others.
    """
    rebuilders = [np.zeros(1).__reduce__()[0], np.float64(0).__reduce__()[0]]  # _reconstruct and scalar
    named = [(function, f"{module}.{function.__name__}") for module in NUMPY_MODULES for function in rebuilders]
    number_types = [type(np.dtype(number)) for number in NUMBERS]
    return [argparse.Namespace, np.ndarray, np.dtype, *named, *number_types]


def allow_fairseq_globals() -> None:
    """Allow ``torch.load(..., weights_only=True)`` to read fairseq's checkpoints, in this process."""
    torch.serialization.add_safe_globals(fairseq_globals())
