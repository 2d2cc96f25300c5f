"""scripts/common/steps.sh: what is made of the outputs of steps goes as soon as one of them is made anew."""

import subprocess

from support.models import REPOSITORY

SCRIPT = """
set -euo pipefail
source scripts/common/steps.sh
cd "$1"
steps_begin steps input
steps_result=result
step copy output -- cp input output
[[ $2 == whole ]] || exit 1
step describe result -- cp output result
"""


def run(folder, how):
    """The lines that say which steps there were."""
    done = subprocess.run(
        ["bash", "-c", SCRIPT, "bash", folder, how], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
    )
    assert done.returncode == (how != "whole")
    return done.stdout.split("\n")


def test_a_result_goes_with_what_it_was_made_of(tmp_path):
    result = tmp_path / "result"
    (tmp_path / "input").write_text("old")
    run(tmp_path, "whole")
    assert result.read_text() == "old"
    assert sum("skipped" in line for line in run(tmp_path, "whole")) == 2 and result.exists()
    (tmp_path / "input").write_text("new")
    run(tmp_path, "interrupted")
    assert (tmp_path / "output").read_text() == "new" and not result.exists()
    run(tmp_path, "whole")
    assert result.read_text() == "new"
