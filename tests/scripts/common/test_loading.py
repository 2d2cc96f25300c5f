"""scripts/common/loading.py: what of an exception is said."""

from common import loading


def test_sentence():
    """The first line, and what a colon announces; an exception without a message has its name."""
    sentence = loading.sentence
    assert sentence(ValueError("one.\ntwo")) == "one"
    assert sentence(RuntimeError("it fails:\n\tsize mismatch.\n\tmore")) == "it fails: size mismatch"
    assert sentence(AssertionError()) == "AssertionError"
