"""Without onnxruntime or numpy the command still has its --help, and says in one sentence what it needs."""

import subprocess
import sys

import pytest

from sret_fairseq.export.single_file import single_file
from support.models import REPOSITORY

WITHOUT = "import runpy, sys; sys.modules[sys.argv[1]] = None; sys.argv = sys.argv[2:]; "
PACKAGE = "runpy.run_module('sret_translate', run_name='__main__')"
FILE = "runpy.run_path(sys.argv[0], run_name='__main__')"


@pytest.mark.parametrize("module", ["onnxruntime", "numpy"])
@pytest.mark.parametrize("how", [PACKAGE, FILE])
def test_a_missing_module(module, how, tmp_path):
    """As the package, and as the one file in a bundle."""
    path = tmp_path / "translate.py"
    path.write_text(single_file(), encoding="utf-8")

    def run(word: object) -> subprocess.CompletedProcess:
        command = [sys.executable, "-c", WITHOUT + how, module, str(path), str(word)]
        return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, cwd=REPOSITORY)

    helped, refused = run("--help"), run(tmp_path)
    assert helped.returncode == 0 and "--beam" in helped.stdout, helped.stderr
    assert refused.returncode == 1 and "pip install onnxruntime" in refused.stderr and module in refused.stderr
    assert refused.stderr.startswith("sret-translate: ") and refused.stderr.count("\n") == 1, refused.stderr
