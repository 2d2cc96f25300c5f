"""scripts/common/translate.py ends in one sentence when a folder or fairseq-generate fails."""

from pathlib import Path

import pytest

from common import translate


def test_a_folder_that_cannot_be_made(tmp_path):
    with pytest.raises(SystemExit, match="--out: /dev/null/x cannot be made a folder to write in: "):
        translate.translate_run(tmp_path, tmp_path, {}, 1, [], Path("/dev/null/x"))


def test_a_log_that_cannot_be_written(tmp_path):
    (tmp_path / "test.log").mkdir()
    with pytest.raises(SystemExit, match=r"test\.log is no regular file; name another\."):
        translate.generate(tmp_path, "model.pt", "test", [], tmp_path / "test.log")


@pytest.mark.parametrize("word", ["--path", "--path=other.pt", "--gen-subset", "--gen-sub"])
def test_another_model_or_set(tmp_path, word):
    """It would be translated under the name of the one that was asked for."""
    name = word.partition("=")[0]
    with pytest.raises(SystemExit, match=rf"^{name}: the model and the set are chosen without it; leave it out\.$"):
        translate.generate(tmp_path, "model.pt", "test", ["--beam", "2", word, "valid"], tmp_path / "test.log")


def test_a_failure_of_generate_belongs_to_no_program(monkeypatch, tmp_path):
    """depth_report.py calls it as evaluate.sh does."""
    monkeypatch.setattr(translate.sys, "executable", "false")
    with pytest.raises(SystemExit, match=r"^fairseq-generate failed; see the end of .*test\.log\.failed\.$"):
        translate.generate(tmp_path, "model.pt", "test", [], tmp_path / "test.log")
    (tmp_path / "python").write_text("#!/bin/sh\necho 'x.py: error: why'\nexit 2\n")
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setattr(translate.sys, "executable", str(tmp_path / "python"))
    with pytest.raises(SystemExit, match=r"^fairseq-generate failed: x\.py: error: why; see the end of .*failed\.$"):
        translate.generate(tmp_path, "model.pt", "test", [], tmp_path / "test.log")
