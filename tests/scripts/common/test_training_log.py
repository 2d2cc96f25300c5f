"""scripts/common/training_log.py reads reports as fairseq writes them, and damaged ones as none."""

import json

import pytest

from common import training_log


def report(**values):
    """A line of the log."""
    return f"2026-01-02 03:04:05 | INFO | x | {json.dumps({'epoch': 1, **values})}\n"


DAMAGED = [
    '{"epoch": 1, "num_updates": 3"}\n',
    report(num_updates=None, loss="5", wps="80"),
    report(num_updates="inf", loss="5", wps="80"),
    report(num_updates="3"),
    report(num_updates="3", nll_loss="5.5.5", wps="8x"),
    report(valid_num_updates="3"),
]


def test_a_million_updates(tmp_path):
    """fairseq writes all numbers in six digits."""
    lines = [report(num_updates="1e+06", loss="5", wps="80"), report(valid_num_updates="1.5e+06", valid_loss="4")]
    (tmp_path / "log").write_text("".join(lines))
    curves = training_log.curves(tmp_path / "log")
    assert curves == {"train": [[1000000, 5.0]], "valid": [[1500000, 4.0]], "bleu": []}
    assert training_log.readable(lines[0], 2000000) == "update 1000000 of 2000000   loss 5   80 tokens/s"
    assert training_log.readable(lines[1], 2000000) == "update 1500000 of 2000000   valid loss 4"


def test_the_line_of_a_validation_has_its_bleu():
    """By which some recipes choose the checkpoint."""
    line = report(valid_num_updates="7", valid_loss="4.5", valid_bleu="12.25")
    assert training_log.readable(line, 9) == "update     7 of 9   valid loss 4.5   BLEU 12.25"


@pytest.mark.parametrize("line", DAMAGED)
def test_damaged_reports_are_left_out(tmp_path, line):
    assert training_log.readable(line, 9) is None
    text = "encoder_layers=2 decoder_layers=3\nnum. shared model params: 1,000\n"
    (tmp_path / "log").write_text(text + line + report(num_updates="4", loss="5", wps="80"))
    assert training_log.curves(tmp_path / "log") == {"train": [[4, 5.0]], "valid": [], "bleu": []}
    assert training_log.summarise(tmp_path / "log")["training_tokens_per_second"] == 80


def test_a_training_that_falls_back(tmp_path):
    """What the log said from the update on that is reached again is replaced, whichever kind of report says so."""
    lines = [report(num_updates=str(n), loss="5") + report(valid_num_updates=str(n), valid_loss="4") for n in (2, 4, 6)]
    lines += [report(valid_num_updates="6", valid_loss="4", valid_bleu="7"), report(num_updates="3", loss="2")]
    (tmp_path / "log").write_text("".join(lines))
    expected = {"train": [[2, 5.0], [3, 2.0]], "valid": [[2, 4.0]], "bleu": []}
    assert training_log.curves(tmp_path / "log") == expected
    (tmp_path / "log").write_text("".join([*lines, report(valid_num_updates="2", valid_loss="1")]))
    assert training_log.curves(tmp_path / "log") == {"train": [[2, 5.0]], "valid": [[2, 1.0]], "bleu": []}
