"""scripts/common/provenance.py lists the packages that are installed."""

import subprocess
import sys

import sret_fairseq  # noqa: F401  (registers the model)
from common import provenance
from recipe import train


def test_what_pip_left_without_a_name_is_no_package(monkeypatch, tmp_path):
    for folder, text in (("~orch-2.0.dist-info", ""), ("real-1.5.dist-info", "Name: real\nVersion: 1.5\n")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "METADATA").write_text(f"Metadata-Version: 2.1\n{text}")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    packages = provenance.packages()
    assert packages["real"] == "1.5" and None not in packages


def test_precision():
    """bf16 and fp16 are taken where every GPU multiplies them fast."""
    precision = provenance.precision
    ampere, volta, pascal = ({"capability": list(pair)} for pair in ((8, 0), (7, 0), (6, 1)))
    assert precision([ampere, {"capability": [12, 0]}]) == ["--bf16"]
    assert precision([ampere, volta]) == ["--fp16"]
    assert precision([ampere, pascal]) == precision([]) == []
    words = train.precision_args
    assert words(None, [ampere]) == ["--bf16"] and words("amp", [ampere]) == ["--amp"]
    assert words("fp32", [ampere]) == words(None, []) == []


def test_commit(tmp_path):
    """The commit of a checkout and whether it was changed; unknown outside git."""
    commit = provenance.commit
    assert commit(tmp_path) == {"commit": "unknown", "dirty": None}
    git = ["git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=a@example.org"]
    (tmp_path / "file").write_text("one")
    for words in (["init", "-q"], ["add", "file"], ["commit", "-qm", "first"]):
        subprocess.run([*git, *words], check=True)
    found = commit(tmp_path)
    assert len(found["commit"]) == 40 and found["dirty"] is False
    (tmp_path / "file").write_text("two")
    assert commit(tmp_path) == {**found, "dirty": True}
