""".ci/check_readme.py finds the README's commands and fails on one that CI did not run."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / ".ci" / "check_readme.py"

README = """\
Text with `code`.

```bash
# a comment line
bash scripts/test.sh -k 'a  b'   # two minutes on two cores
fairseq-train data-bin \\
    --arch sret_transformer
```

```bash no-ci
takes hours
```

```
output, not a command
```
"""
COMMANDS = ["bash scripts/test.sh -k 'a  b'", "fairseq-train data-bin \\\n  --arch sret_transformer"]


def check(folder: Path, readme: str, ran: list[str]) -> subprocess.CompletedProcess:
    (folder / "README.md").write_text(readme)
    (folder / "ran").write_text("".join(command + "\0" for command in ran))
    arguments = ["--readme", folder / "README.md", "--ran", folder / "ran"]
    return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True)


def test_passes_when_every_command_ran(tmp_path):
    result = check(tmp_path, README, [*COMMANDS, "ruff check"])
    assert result.returncode == 0, result.stderr
    assert "CI ran 2 of 2 commands" in result.stdout


@pytest.mark.parametrize("omitted", range(len(COMMANDS)))
def test_names_a_command_that_did_not_run(tmp_path, omitted):
    result = check(tmp_path, README, [c for i, c in enumerate(COMMANDS) if i != omitted])
    assert result.returncode == 1
    assert " ".join(COMMANDS[omitted].replace("\\\n", "").split()) in result.stderr


def test_refuses_a_readme_without_commands(tmp_path):
    assert "no command found" in check(tmp_path, "Nothing here.\n", COMMANDS).stderr
