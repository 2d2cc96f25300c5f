"""What a benchmark leaves behind."""

import argparse
import json

import pytest

from benchmarks import report
from benchmarks.comparison import Comparison, Goal


def settings(out, **given):
    usual = {"benchmark": "train", "device": "cpu", "quick": False, "words": ["train", "--pairs", "2"]}
    return argparse.Namespace(out=out, **{**usual, **given})


@pytest.fixture
def measured():
    comparisons = [
        Comparison("tiny", "tokens/s", [1000, 3000], [1500, 3000], Goal(1.2), flops=(4, 5)),
        Comparison("base", "tokens/s", [100, 100], [90, 80]),
    ]
    return report.comparisons_report(comparisons, ["What was measured."])


def test_table(measured):
    """Medians, the ratio with its range, the goal; columns of what nobody counted are left out."""
    heading, tiny, base = measured.table
    assert heading == ["", "A", "B", "unit", "ratio", "min..max", "goal", "", "FLOP B/A"]
    assert tiny == ["tiny", "2,000", "2,250", "tokens/s", "1.25", "1.00..1.50", ">= 1.20", "met", "1.25"]
    assert base == ["base", "100", "85", "tokens/s", "0.85", "0.80..0.90", "", "", ""]


def test_write(measured, tmp_path, capsys):
    """A table on standard output, all samples and circumstances as JSON, a picture, and nothing temporary."""
    report.write(measured, settings(tmp_path / "out"))
    assert "| tiny | 2,000 | 2,250 |" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["train-cpu.json", "train-cpu.png"]
    written = json.loads((tmp_path / "out" / "train-cpu.json").read_text())
    assert [row["b"] for row in written["rows"]] == [[1500, 3000], [90, 80]]
    assert written["command"] == "bash benchmarks/run.sh train --pairs 2"
    assert {"date", "commit", "dirty", "machine", "threads", "precision", "versions", "notes"} <= set(written)
    assert "host" not in written["machine"]
    assert (tmp_path / "out" / "train-cpu.png").read_bytes().startswith(b"\x89PNG")


def test_quick_results_say_so(measured, tmp_path, capsys):
    """They get a name of their own and a warning."""
    report.write(measured, settings(tmp_path, quick=True))
    assert "not how fast" in capsys.readouterr().out
    assert (tmp_path / "train-cpu-quick.json").exists()


def test_lines_can_be_drawn(tmp_path):
    """The picture of the benchmarks of length and depth."""
    curves = {"forward": [(1, 2.0), (2, 3.0)], "forward, line": [(1, 2.0), (2, 3.0)]}
    drawn = report.Report([], [["", "x"]], [], lambda axes: report.draw_lines(axes, curves, "passes", "ms"))
    report.write_picture(drawn, tmp_path / "picture.png", "title")
    assert [path.name for path in tmp_path.iterdir()] == ["picture.png"]
