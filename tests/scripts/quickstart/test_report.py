"""scripts/quickstart/report.py shows samples, a table and the curves, and keeps every number."""

import argparse
import json
from pathlib import Path

import pytest

from common.translate import Translation
from quickstart import report

LOG = (
    "encoder_layers=2 decoder_layers=3\nnum. shared model params: 1,000\n"
    '{"epoch": 1, "num_updates": "4", "loss": "5", "wps": "80"}\n'
    '{"epoch": 1, "valid_num_updates": "4", "valid_loss": "6"}\n'
)


@pytest.fixture
def written(tmp_path, capsys):
    """A function that reports on a system and a test set of two sentences; what it said, and the folder."""

    def write(quick: bool) -> tuple[str, Path]:
        for name, text in {
            "train.log": LOG,
            "corpus/test.en": "one\ntwo\n",
            "corpus/test.de": "eins\nzwei\n",
            "corpus/corpus.json": json.dumps({"origin": "a test"}),
        }.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text)
        test = report.read_test(tmp_path / "corpus", ("en", "de"))
        system = report.measure(Translation(["eins", "drei"], 2.0, ""), tmp_path / "train.log", test)
        args = argparse.Namespace(out=tmp_path, quick=quick, updates=4)
        report.write({"A": system}, test, args, {"train A": 1.5})
        return capsys.readouterr().out, tmp_path

    return write


def test_files_and_table(written):
    """All numbers and a picture, and nothing temporary."""
    said, out = written(quick=False)
    assert {path.name for path in out.iterdir()} == {"learning_curves.png", "results.json", "train.log", "corpus"}
    results = json.loads((out / "results.json").read_text())
    assert results["corpus"] == {"origin": "a test"} and results["systems"]["A"]["parameters"] == 1000
    assert results["seconds"] == {"train A": 1.5}
    assert results["samples"] == [
        {"source": "one", "reference": "eins", "A": "eins"},
        {"source": "two", "reference": "zwei", "A": "drei"},
    ]
    assert "| A      |      1,000 |             5 |" in said
    assert "tok:13a" in said


def test_a_quick_run_shows_no_scores(written):
    said, out = written(quick=True)
    assert "Everything runs" in said and "BLEU" not in said and "|" not in said
    assert json.loads((out / "results.json").read_text())["systems"]["A"]["bleu"] is not None


def test_samples_are_one_line_a_version():
    assert report.sample_text([{"source": "eins", "A": "one"}, {"source": "zwei", "A": "two"}]) == (
        "source  eins\nA       one\n\nsource  zwei\nA       two"
    )
