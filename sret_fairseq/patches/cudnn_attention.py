"""torch prefers cuDNN's attention on an H100, whose gradients may be NaN and which makes a plan for every new shape.

NaN: with a mask, where the length is 64 more than a multiple of 128 and a row sees nothing but what is hidden, as
padding does (pytorch's issue 196678, since torch 2.11). And nearly every batch of text has a shape of its own, as has
every step of a translation.
"""

import torch


def switch_off() -> None:
    """Leave attention to torch's other kernels, in this process."""
    torch.backends.cuda.enable_cudnn_sdp(False)
