"""scripts/translation.py ends in one sentence when a folder or fairseq-generate fails."""

from pathlib import Path

import pytest


@pytest.fixture
def translation(import_script):
    """The script as a module."""
    return import_script("common.translate")


def test_a_folder_that_cannot_be_made(translation, tmp_path):
    with pytest.raises(SystemExit, match="--out: /dev/null/x cannot be made a folder to write in: "):
        translation.system_translations(tmp_path, tmp_path, {}, 1, [], Path("/dev/null/x"))


def test_a_log_that_cannot_be_written(translation, tmp_path):
    (tmp_path / "test.log.tmp").mkdir()
    with pytest.raises(SystemExit, match=r"test\.log\.tmp cannot be written: Is a directory\."):
        translation.translate(tmp_path, "model.pt", "test", [], tmp_path / "test.log")


def test_a_failure_of_generate_belongs_to_no_program(translation, monkeypatch, tmp_path):
    """depth_report.sh calls it as evaluate.sh does."""
    monkeypatch.setattr(translation.sys, "executable", "false")
    with pytest.raises(SystemExit, match=r"^fairseq-generate failed; see the end of .*test\.log\.tmp\.$"):
        translation.translate(tmp_path, "model.pt", "test", [], tmp_path / "test.log")
