"""scripts/common/words.py and its like in the package: nouns in the right number."""

import pytest

from common import words
from sret_fairseq import errors


@pytest.mark.parametrize(
    "number, noun, text",
    [
        (0, "pass", "0 passes"),
        (1, "pass", "1 pass"),
        (2, "pass", "2 passes"),
        (1, "line", "1 line"),
        (3, "line", "3 lines"),
    ],
)
def test_counted(number, noun, text):
    assert words.counted(number, noun) == text == errors.counted(number, noun)


def test_thousands():
    assert words.counted(2000, "line") == "2,000 lines"
