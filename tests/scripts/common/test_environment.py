"""scripts/common/environment.sh works in the environment that is there, and sets one up only where it has to."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.models import REPOSITORY

SCRIPT = """\
source scripts/common/environment.sh
use_environment "$@"
echo "$python"
"$python" -c 'import common, sret_fairseq; print(sret_fairseq.__file__)'"""
SET_UP = """\
mkdir -p "${VENV:-.venv}/bin"
ln -s "$(type -P python3)" "${VENV:-.venv}/bin/python3"
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with a package that is quick to import, and a set-up that makes an empty environment."""
    root = tmp_path / "checkout"
    for name, text in {
        "sret_fairseq/__init__.py": "",
        "scripts/common/__init__.py": "",
        "scripts/setup.sh": SET_UP,
        "setup.py": "",
        "constraints.txt": "",
        "scripts/common/environment.sh": (REPOSITORY / "scripts/common/environment.sh").read_text(),
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def environment(folder: Path) -> Path:
    """An environment with what this one has."""
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python3").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (folder / "bin" / "python3").chmod(0o755)
    return folder


def use(checkout: Path, *modules: str, **variables: str) -> tuple[str, str]:
    """The folder of the environment that a script works in that needs the modules; and what it says."""
    kept = {name: value for name, value in os.environ.items() if name not in ("VENV", "VIRTUAL_ENV", "CONDA_PREFIX")}
    command = ["bash", "-euo", "pipefail", "-c", SCRIPT, "script", *modules]
    done = subprocess.run(command, cwd=checkout, env={**kept, **variables}, capture_output=True, text=True, check=True)
    python, package = done.stdout.splitlines()
    assert package == str(checkout / "sret_fairseq" / "__init__.py")
    return python.removesuffix("/bin/python3"), done.stderr


@pytest.mark.parametrize("name", ["VENV", "VIRTUAL_ENV", "CONDA_PREFIX"])
def test_an_environment_that_has_everything_is_used(checkout, tmp_path, name):
    own = str(environment(tmp_path / "own"))
    assert use(checkout, "pytest", **{name: own}) == (own, "")


def test_venv_goes_before_what_is_active(checkout, tmp_path):
    own, active = environment(tmp_path / "own"), environment(tmp_path / "active")
    assert use(checkout, VENV=str(own), VIRTUAL_ENV=str(active))[0] == str(own)


def test_python_on_the_path_without_a_virtual_environment(checkout):
    """As in a container."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    assert use(checkout, "pytest", PATH=path)[0] == sys.prefix


def test_one_that_lacks_a_module_is_not_used(checkout, tmp_path):
    """The reason is said, and .venv is set up."""
    own = environment(tmp_path / "own")
    folder, said = use(checkout, "no_such_module", VIRTUAL_ENV=str(own))
    assert folder == str(checkout / ".venv")
    assert said == (
        f"The environment {own} is not used: no_such_module cannot be imported (No module named 'no_such_module').\n"
    )


def test_one_that_venv_names_is_made(checkout, tmp_path):
    active = environment(tmp_path / "active")
    assert use(checkout, VENV="new", VIRTUAL_ENV=str(active)) == (str(checkout / "new"), "")


def test_one_that_is_half_made_is_not_used(checkout, tmp_path):
    own = environment(tmp_path / "own")
    (own / "sret_fairseq.setup").touch()
    assert use(checkout, VIRTUAL_ENV=str(own)) == (str(checkout / ".venv"), "")


def test_one_that_this_checkout_made_is_not_imported_to_see(checkout, tmp_path):
    """Unless setup.py or the pins are newer."""
    own = environment(tmp_path / "own")
    (own / "sret_fairseq.setup").write_text(f"checkout {checkout}\n")
    assert use(checkout, "no_such_module", VIRTUAL_ENV=str(own)) == (str(own), "")
    later = (own / "sret_fairseq.setup").stat().st_mtime + 1
    os.utime(checkout / "constraints.txt", (later, later))
    assert use(checkout, "no_such_module", VIRTUAL_ENV=str(own))[0] == str(checkout / ".venv")
