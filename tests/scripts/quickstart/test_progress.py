"""scripts/quickstart/progress.py tells the time left from the pace so far."""

import pytest

from quickstart import progress
from quickstart.progress import Progress


@pytest.fixture
def clock(monkeypatch):
    """A list with the time in seconds."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_the_pace_of_a_step_tells_that_of_the_rest(clock, capsys):
    steps = Progress({"train": 200, "translate": 100})
    steps.begin("train")
    assert capsys.readouterr().out == "\n== train   (about 5 min left)\n"
    clock[0] += 30
    assert steps.left("train", 0.1) == "about 5 min left"  # the start tells nothing
    clock[0] += 160  # for 80 seconds' worth
    assert steps.left("train", 0.5) == "about 7 min left"
    steps.end("train")
    assert steps.seconds == {"train": 190}
    steps.begin("translate")
    assert capsys.readouterr().out == "\n== translate   (about 3 min left)\n"
    clock[0] += 10
    steps.left("translate", 0.1)
    clock[0] += 50
    assert steps.left("translate", 0.6) == "about 40 s left"
