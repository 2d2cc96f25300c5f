"""fairseq 0.12.2's fast path, kept closed: the function of torch behind it has changed."""

import functools
from typing import Any, Callable

from fairseq.modules.transformer_layer import TransformerEncoderLayerBase


def without_fast_path(load: Callable) -> Callable:
    """The method by which fairseq's encoder layer loads its weights, without what it opens for evaluation."""

    @functools.wraps(load)
    def load_without_fast_path(self: Any, *args: Any) -> None:
        load(self, *args)
        self.load_to_BT = False

    return load_without_fast_path


def close_fast_path() -> None:
    """Let the ``transformer`` of fairseq 0.12.2 (Python 3.10) validate and translate with torch 2.

    Once loaded, its post-norm encoder layers call ``torch._transformer_encoder_layer_fwd`` with a padding mask and
    without the mask's type, which torch refuses from 2.0 on. Later versions of fairseq have no such path.
    """
    if "_load_from_state_dict" in vars(TransformerEncoderLayerBase):
        load = TransformerEncoderLayerBase._load_from_state_dict
        TransformerEncoderLayerBase._load_from_state_dict = without_fast_path(load)
