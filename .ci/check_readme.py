"""Checks that every command in the README is one that CI ran.

A command is a line of a fenced block marked ```bash or with another shell's name (lines that end in a
backslash are joined to the next; empty lines, comment lines and comments after two spaces do not count).
Each must equal, but for white space, a command that `.ci/run` ran: that script notes every command that
succeeded, and this one compares. A block marked ```bash no-ci holds commands that CI cannot run, such as a
training run of hours; say in the README which smaller command stands for it.
"""

import argparse
import re
import sys
from pathlib import Path

FENCE = re.compile(r"^(?P<fence>```+)(?P<info>[^`\n]*)\n(?P<body>.*?)^(?P=fence) *$", re.MULTILINE | re.DOTALL)
SHELLS = {"bash", "sh", "shell", "console"}


def normalise(command: str) -> str:
    """Joins continued lines and makes every run of white space one space."""
    return " ".join(command.replace("\\\n", " ").split())


def readme_commands(text: str) -> list[str]:
    """Returns the normalised commands of all shell blocks that are not marked ``no-ci``."""
    commands = []
    for block in FENCE.finditer(text):
        language, *marks = block["info"].split() or [""]
        if language not in SHELLS or "no-ci" in marks:
            continue
        for line in block["body"].replace("\\\n", " ").splitlines():
            command = normalise(re.split(r"(?:^|\s\s)\s*# ", line)[0])
            if command:
                commands.append(command)
    return commands


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readme", type=Path, default=Path("README.md"), help="default: %(default)s")
    parser.add_argument("--ran", type=Path, required=True, help="the commands that ran, each ended by a NUL")
    args = parser.parse_args()
    for path in (args.readme, args.ran):
        if not path.is_file():
            parser.error(f"{path} is not a file")

    commands = readme_commands(args.readme.read_text(encoding="utf-8"))
    ran = {normalise(command) for command in args.ran.read_text(encoding="utf-8").split("\0")}
    missing = [command for command in commands if command not in ran]
    for command in missing:
        print(f"{args.readme}: CI did not run: {command}", file=sys.stderr)
    if not commands:
        print(f"{args.readme}: no command found in a ```bash block", file=sys.stderr)
    else:
        print(f"{args.readme}: CI ran {len(commands) - len(missing)} of {len(commands)} commands")
    return 1 if missing or not commands else 0


if __name__ == "__main__":
    sys.exit(main())
