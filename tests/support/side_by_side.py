"""fairseq's commands in child processes that run side by side."""

import json
import os
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Callable, Dict, List, Sequence, Set

from common import command
from support.models import REPOSITORY

SECONDS = 200  # of the commands of one child, which take some fifteen when nothing runs beside them
# A child runs its commands one after the other, and stops at one that fails.
CHILD = """
import json, sys
from support.commands import fairseq
said = []
for words in json.load(sys.stdin):
    said.append(fairseq(*words))
    if said[-1][0]:
        break
print(json.dumps(said))
"""


class FailedError(AssertionError):
    """A command that failed, with the end of what it said."""


class SideBySide:
    """Runs functions in threads; the children that they start end with it.

    Args:
        limit: how many at a time.
    """

    def __init__(self, limit: int):
        self.pool = ThreadPoolExecutor(limit)
        self.futures: Dict[str, Future] = {}
        self.processes: Set[subprocess.Popen] = set()
        self.ended = False

    def start(self, name: str, function: Callable[[], object]) -> Future:
        """Start a function under a name; of one that was started before, its future."""
        if name not in self.futures:
            self.futures[name] = self.pool.submit(function)
        return self.futures[name]

    def fairseq(self, *commands: Sequence[object]) -> List[str]:
        """Run commands of fairseq, each a name such as ``train`` and its arguments, in one child; what each says.

        Raises:
            FailedError: one failed, or all took too long.
        """
        words = [list(map(str, each)) for each in commands]
        path = os.pathsep.join([str(REPOSITORY / "tests"), str(REPOSITORY / "scripts"), str(REPOSITORY)])
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [path, os.environ.get("PYTHONPATH")]))}
        pipes = {name: subprocess.PIPE for name in ("stdin", "stdout", "stderr")}
        options = {"text": True, "cwd": REPOSITORY, "env": environment, **pipes}
        with command.child([sys.executable, "-W", "ignore", "-c", CHILD], **options) as process:
            self.processes.add(process)
            try:
                found, errors = process.communicate(json.dumps(words), timeout=0 if self.ended else SECONDS)
            except subprocess.TimeoutExpired as error:
                raise FailedError(f"more than {SECONDS} s: {words}") from error
            finally:
                self.processes.discard(process)
        if process.returncode:
            raise FailedError(f"{words}\n{errors[-4000:]}")
        said = json.loads(found.splitlines()[-1])
        if said[-1][0]:
            raise FailedError(f"{words[len(said) - 1]}\n{said[-1][1][-4000:]}")
        return [text for _, text in said]

    def end(self) -> None:
        """End all that runs, and start nothing more."""
        self.ended = True
        for future in self.futures.values():
            future.cancel()
        for process in list(self.processes):
            command.end_group(process)
        self.pool.shutdown()
