"""scripts/prepare/distilled_pairs.py pairs sources with the translations in a log."""

import pytest

from prepare import distilled_pairs

LOG = "INFO | x\nS-1\tc d\nT-1\tX\nH-1\t-0.5\tC D\nD-1\t-0.5\tC D\nP-1\t-0.1\nS-0\ta\u2028b\nH-0\t-1\tA\u2028B\n"


PAIRS = ("a\u2028b\nc d\n", "A\u2028B\nC D\n")


@pytest.mark.parametrize(
    "log, count, expected",
    [
        (LOG, 2, PAIRS),
        (f"{LOG}WARNING | 1 samples have invalid sizes and will be skipped, ...\n", 3, PAIRS),
        (LOG, 3, "holds 2 of 3 translations"),
        (LOG[: LOG.index("H-0")], 2, "holds 1 of 2 translations"),
        (f"{LOG}H-2\tcut", 2, "is damaged"),
    ],
)
def test_pairs(monkeypatch, tmp_path, log, count, expected):
    """In the order of the corpus whatever that of the log; other line separators stay inside a sentence."""
    monkeypatch.setattr("fairseq.data.data_utils.load_indexed_dataset", lambda path: range(count))
    (tmp_path / "log").write_text(log)
    files = {name: str(tmp_path / name) for name in ("log", "corpus", "source", "target")}
    words = [word for name, path in files.items() for word in (f"--{name}", path)]
    monkeypatch.setattr("sys.argv", ["distilled_pairs.py", *words])
    if isinstance(expected, str):
        with pytest.raises(SystemExit, match=expected):
            distilled_pairs.main()
        assert not (tmp_path / "source").exists()
        return
    distilled_pairs.main()
    texts = tuple((tmp_path / name).read_bytes().decode() for name in ("source", "target"))
    assert texts == expected
