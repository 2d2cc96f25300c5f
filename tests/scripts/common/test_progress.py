"""scripts/common/progress.py says what is left."""

import pytest

from common import progress


def test_a_line_now_and_then(monkeypatch, capsys):
    clock = iter([100.0, 101.0, 110.0, 130.0, 131.0, 240.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    shown = progress.Progress("pairs.en", "lines", 4000)
    for number, done in ((20, 10), (60, 30), (2000, 1000), (2100, 1040), (8000, 4100)):
        shown.report(number, done)
    assert capsys.readouterr().out.splitlines() == [
        "pairs.en: 60 lines, 1%",
        "pairs.en: 2,000 lines, 25%, 90 s left",
        "pairs.en: 8,000 lines, 100%, 0 s left",
    ]


@pytest.mark.parametrize(("seconds", "text"), [(99.4, "99 s"), (150, "2 min"), (7200, "2.0 h")])
def test_durations(seconds, text):
    assert progress.duration(seconds) == text
