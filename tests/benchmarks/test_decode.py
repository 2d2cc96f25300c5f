"""The benchmark of decoding."""

import pytest

from benchmarks import decode, models
from benchmarks.batches import sources
from benchmarks.models import dictionary


def test_translations_have_a_fixed_length():
    """Untrained as the model is, every hypothesis has the same number of tokens; another number is refused."""
    translator = decode.Translator(models.build("tiny", models.B, "cpu"), [sources(2, "cpu")], length=4)
    assert [len(hypotheses) for hypotheses in translator.translate()] == [decode.BEAM] * 2
    translator.check()
    translator.length = 5
    with pytest.raises(SystemExit, match=r"translations of \[5\] tokens instead of 6"):
        translator.check()


def test_cut_leaves_no_column_of_padding():
    """Each part is as wide as its own longest sentence, and no token is lost."""
    taken = sources(5, "cpu")
    parts = decode.cut(taken, batch=2)
    assert [len(part["src_lengths"]) for part in parts] == [2, 2, 1]
    for part in parts:
        real = part["src_tokens"].ne(dictionary().pad())
        assert real.any(dim=0).all() and real.sum(dim=1).equal(part["src_lengths"])
    assert sum(int(part["src_lengths"].sum()) for part in parts) == int(taken["src_lengths"].sum())
