"""scripts/common/output.py draws into files, and says what to install where matplotlib is missing."""

import subprocess
import sys

import pytest

from common import output
from support.models import REPOSITORY

MISSING = r"^matplotlib is not installed: pip install '\.\[plot\]'$"


def test_without_matplotlib(monkeypatch, tmp_path):
    """One sentence, from the folder for the results on."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(SystemExit, match=MISSING):
        output.new_figure()
    with pytest.raises(SystemExit, match=MISSING):
        output.picture_folder(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_help_needs_no_matplotlib():
    """Scripts that draw can be imported without it."""
    code = "import sys; sys.modules['matplotlib'] = None; import plot_curves, plot_coefficients, quickstart.report"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY / "scripts", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", [r"$\frac$.log", "a$b", "plain", r"\$x$"])
def test_labels_are_shown_as_they_are(tmp_path, name):
    figure = output.new_figure()
    figure.subplots().set_title(output.plain(name))
    output.save_figure(figure, tmp_path / "picture.png")
    from matplotlib import cbook

    assert not cbook.is_math_text(output.plain(name))
    assert output.plain(name).replace(r"\$", "$") == name
