"""scripts/report.py compares systems, and says what is missing."""

import json
import sys

import pytest

LOG = (
    "encoder_layers=2 decoder_layers=3\nnum. shared model params: 1,000\n"
    '{"epoch": 1, "num_updates": "4", "loss": "5", "wps": "80"}\n'
    '{"epoch": 1, "valid_num_updates": "4", "valid_loss": "6"}\n'
)


@pytest.fixture
def run(import_script, monkeypatch, tmp_path):
    """A function that runs the script on a system and a corpus of two sentences; it returns its folder."""
    script = import_script("quickstart.report")
    files = {
        "system/train.log": LOG,
        "system/generate.log": "D-1\t-1\tzwei\nD-0\t-1\teins\nTranslated 2 sentences in 1.0s (2.00 sentences/s)\n",
        "corpus/test.en": "one\ntwo\n",
        "corpus/test.de": "eins\nzwei\n",
        "corpus/corpus.json": json.dumps({"origin": "a test"}),
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)

    def call(*words):
        command = ["--system", f"A={tmp_path / 'system'}", "--corpus", tmp_path / "corpus", "--languages", "en", "de"]
        command += ["--out", tmp_path / "out", *words]
        monkeypatch.setattr(sys, "argv", ["report.py", *map(str, command)])
        script.main()
        return tmp_path / "out"

    return call


def test_files(run, capsys):
    """All numbers and a picture, and nothing temporary."""
    out = run("--samples", 1)
    assert sorted(path.name for path in out.iterdir()) == ["learning_curves.png", "results.json"]
    results = json.loads((out / "results.json").read_text())
    assert results["corpus"] == {"origin": "a test"} and results["systems"]["A"]["parameters"] == 1000
    assert results["samples"] == [{"source": "one", "reference": "eins", "A": "eins"}]
    assert "Test: 2 sentences. The first 1:" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["corpus/test.en", "corpus/corpus.json", "system/generate.log", "system/train.log"])
def test_a_missing_file(run, tmp_path, name):
    (tmp_path / name).unlink()
    with pytest.raises(SystemExit, match=f"{name} cannot be read: No such file or directory"):
        run()


@pytest.mark.parametrize(
    "name, text, sentence",
    [
        ("corpus/corpus.json", "{", "corpus.json is damaged, no JSON: "),
        ("system/generate.log", "D-1\nD-0\t-1\teins\n", "generate.log holds 1 of the 2 translations: translate again"),
    ],
)
def test_a_damaged_file(run, tmp_path, name, text, sentence):
    (tmp_path / name).write_text(text)
    with pytest.raises(SystemExit, match=sentence):
        run()


def test_no_samples(run, capsys):
    with pytest.raises(SystemExit):
        run("--samples", 0)
    assert "--samples 0 must be at least 1." in capsys.readouterr().err
