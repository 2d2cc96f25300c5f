"""fairseq's own transformer, which is the baseline, evaluates once it is loaded; fairseq 0.12.2's alone does not."""

import pytest
import torch

from sret_fairseq.patches.fast_path import without_fast_path
from support.models import build_fairseq, logits, pad, source, target


@pytest.mark.parametrize("left", [False, True])
def test_a_loaded_transformer_computes_what_it_did(left):
    """Post-norm, in evaluation, with padding on either side."""
    model, loaded = build_fairseq(seed=0), build_fairseq(seed=1)
    loaded.load_state_dict(model.state_dict())
    sources, targets = pad([source(5), source(9)], left=left), pad([target(4), target(6)])
    with torch.no_grad():
        torch.testing.assert_close(logits(loaded, sources, targets), logits(model, sources, targets), rtol=0, atol=0)


def test_loading_does_not_open_the_path():
    """What fairseq's method does otherwise is kept, and what is loaded is known to it."""
    calls = []

    class Layer:
        load_to_BT = False

        def load(self, *args):
            calls.append(args)
            self.load_to_BT = True

    layer = Layer()
    without_fast_path(Layer.load)(layer, "weights", "prefix")
    assert calls == [("weights", "prefix")]
    assert layer.load_to_BT is False
