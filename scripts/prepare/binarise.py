"""Binarise a text with fairseq-preprocess, into a folder that appears when it is whole.

What is after -- goes to fairseq-preprocess.
"""

import argparse
import contextlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from common import arguments, command, failures, files

PROGRAM = Path(__file__).with_name("preprocess.py")
PROGRESS = re.compile(r": [\d,]+ lines, \d+%")  # of common.progress
SAID = re.compile(r"fairseq_cli\.preprocess[ |:]*(\[.*\])")


def told(output: TextIO) -> Iterator[str]:
    """Yield what a program says, without its progress, which is shown."""
    for line in output:
        if PROGRESS.search(line):
            print(line, end="", flush=True)
        else:
            yield line


def main() -> None:
    """Run the command line."""
    split = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=arguments.path, help="folder to write")
    parser.add_argument("--log", type=arguments.path, required=True, help="where what fairseq-preprocess says goes")
    parser.add_argument("--add", type=arguments.path, nargs="*", default=[], help="files to put there too")
    args = parser.parse_args(sys.argv[1:split])
    part = args.out.with_name(f"{args.out.name}.part")
    for folder in (args.out, part):
        shutil.rmtree(folder, ignore_errors=True)
    program = [sys.executable, PROGRAM, "--destdir", part, *sys.argv[split + 1 :]]
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "encoding": "utf-8", "errors": "replace"}
    try:
        with command.child(program, **pipe) as process:
            said = "".join(told(process.stdout))  # in memory: on a full disk a log would lose the line that says so
        with contextlib.suppress(SystemExit):
            files.write_text(args.log, said)
        if process.returncode:
            what = "prepare: fairseq-preprocess"
            raise SystemExit(failures.sentence(what, said.splitlines(), process.returncode, args.log))
        for path in args.add:
            shutil.copy(path, part)
        part.replace(args.out)
    except OSError as error:
        raise SystemExit(f"prepare: {args.out} cannot be written: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    print(*SAID.findall(said), sep="\n")


if __name__ == "__main__":
    command.run_part(main)
