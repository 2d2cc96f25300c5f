"""scripts/figures.py draws into files, and says what to install where matplotlib is missing."""

import subprocess
import sys

import pytest

from support.models import REPOSITORY

MISSING = r"^matplotlib is not installed: pip install '\.\[plot\]'$"


@pytest.fixture
def figures(import_script):
    """The script as a module."""
    return import_script("common.figures")


def test_without_matplotlib(figures, monkeypatch, tmp_path):
    """One sentence, from the folder for the results on."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(SystemExit, match=MISSING):
        figures.new()
    with pytest.raises(SystemExit, match=MISSING):
        figures.output_folder(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_help_needs_no_matplotlib():
    """Scripts that draw can be imported without it."""
    code = "import sys; sys.modules['matplotlib'] = None; import plot_curves, plot_coefficients, quickstart.report"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY / "scripts", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", [r"$\frac$.log", "a$b", "plain", r"\$x$"])
def test_labels_are_shown_as_they_are(figures, tmp_path, name):
    figure = figures.new()
    figure.subplots().set_title(figures.plain(name))
    figures.save(figure, tmp_path / "picture.png")
    from matplotlib import cbook

    assert not cbook.is_math_text(figures.plain(name))
    assert figures.plain(name).replace(r"\$", "$") == name
