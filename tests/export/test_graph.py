"""What a graph is built of."""

import numpy as np
import pytest

pytest.importorskip("onnx")

from sret_fairseq.export.graph import quantise


def test_two_products_of_8_bits_fit_into_16():
    """CPUs without VNNI add them so, and saturate."""
    weight = np.random.default_rng(1).standard_normal((5, 7)).astype(np.float32)
    quantised, scales = quantise(weight)
    assert 2 * 255 * int(np.abs(quantised).max()) <= np.iinfo(np.int16).max
    np.testing.assert_allclose(quantised * scales[:, None], weight, atol=float(scales.max()) / 2)
