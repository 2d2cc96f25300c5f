"""The straight line through the costs of the passes."""

import pytest

from benchmarks.depth import fit


def test_fit_of_a_line():
    """Its own offset and slope, and no residual."""
    fitted = fit([1, 2, 4], [5.0, 8.0, 14.0])
    assert (fitted["offset"], fitted["slope"]) == (pytest.approx(2), pytest.approx(3))
    assert fitted["largest_residual"] == pytest.approx(0, abs=1e-9)


def test_residual_of_what_is_no_line():
    """Squares: the nearest line through 1, 4, 9 is 4p - 10/3; it is farthest off at the start, half as a share."""
    fitted = fit([1, 2, 3], [1.0, 4.0, 9.0])
    assert fitted["line"] == pytest.approx([2 / 3, 14 / 3, 26 / 3])
    assert fitted["largest_residual"] == pytest.approx(0.5)
