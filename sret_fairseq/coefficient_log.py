"""The residual coefficients in TensorBoard during training, with ``--tensorboard-logdir``.

fairseq gives a metric to all of its logs or to none, and this many numbers would bury its progress line. So they are
added where it writes to TensorBoard: in the first process alone, once every ``--log-interval`` updates, to the curves
of ``train_inner``. Other updates cost nothing.
"""

import functools
import weakref
from typing import Dict, Optional

from fairseq.logging.progress_bar import TensorboardProgressBarWrapper
from torch import nn

from sret_fairseq.coefficients import coefficients

followed: Optional[weakref.ref] = None  # the model, once there is one


def scalars(model: nn.Module) -> Dict[str, float]:
    """Every coefficient by its name in TensorBoard, such as ``encoder_c1/block1_self_attn_pass_all``.

    Of one coefficient for each channel it is the mean, with the standard deviation under the same name and ``_std``.
    """
    logged = {}
    for place, moments in coefficients(model.named_parameters()).items():
        name = f"{place.side}_{place.which}/block{place.block}_{place.sublayer}_pass_{place.pass_}"
        logged.update(zip((name, f"{name}_std"), moments))
    return logged


def adding_coefficients(log):
    """fairseq's ``TensorboardProgressBarWrapper.log``, which training calls, logging the coefficients too."""

    @functools.wraps(log)
    def log_with_coefficients(self, stats, tag=None, step=None):
        model = followed and followed()
        if model is not None:
            self._log_to_tensorboard(scalars(model), tag, step)
        log(self, stats, tag=tag, step=step)

    return log_with_coefficients


def follow(model: nn.Module) -> None:
    """Make fairseq log the coefficients of this model, the last that was built, to TensorBoard in this process."""
    global followed
    followed = weakref.ref(model)
    if not hasattr(TensorboardProgressBarWrapper.log, "__wrapped__"):
        TensorboardProgressBarWrapper.log = adding_coefficients(TensorboardProgressBarWrapper.log)
