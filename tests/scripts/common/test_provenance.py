"""scripts/common/provenance.py lists the packages that are installed."""

import sys

from common import provenance


def test_what_pip_left_without_a_name_is_no_package(monkeypatch, tmp_path):
    for folder, text in (("~orch-2.0.dist-info", ""), ("real-1.5.dist-info", "Name: real\nVersion: 1.5\n")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "METADATA").write_text(f"Metadata-Version: 2.1\n{text}")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    packages = provenance.packages()
    assert packages["real"] == "1.5" and None not in packages
