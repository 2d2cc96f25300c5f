"""What a step costs: time, processor time, and the memory of a process with its children at its peak.

Run as a program it looks at the memory of the process of that number once a second until its standard input ends, and
prints the peak in bytes: a thread for that would be in the way of processes that fork.
"""

import contextlib
import os
import select
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

SECONDS_BETWEEN_LOOKS = 1.0


def descendants(process: int) -> list[int]:
    """The processes that one started, and those that they started; on Linux.

    A process group does not hold them all: torchrun gives each of its processes a session of its own.
    """
    children = defaultdict(list)
    for path in Path("/proc").glob("[0-9]*/stat"):
        if text := read(path):
            children[int(text.rpartition(")")[2].split()[1])].append(int(path.parent.name))
    found = [process]
    for each in found:  # which grows
        found += children[each]
    return found[1:]


def memory_of_tree(root: int) -> int:
    """Bytes that a process and its descendants occupy but for this one, shared pages counted once; 0 outside Linux."""
    total = 0
    for process in [root, *(each for each in descendants(root) if each != os.getpid())]:
        for line in read(Path(f"/proc/{process}/smaps_rollup")).splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total


def read(path: Path) -> str:
    """A file of /proc, empty for a process that has ended."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


class Usage:
    """Measures this process and its children from now on."""

    def __init__(self) -> None:
        self.begin = time.monotonic()
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        # In a group of its own: Ctrl-C is for this process, with whose pipe the observer ends.
        self.observer = subprocess.Popen([sys.executable, __file__, str(os.getpid())], start_new_session=True, **pipes)

    def end(self) -> dict[str, float]:
        """Seconds, seconds of processors, and the peak of memory in MiB."""
        seconds, processor = time.monotonic() - self.begin, sum(os.times()[:4])
        peak, _ = self.observer.communicate()
        return {
            "seconds": round(seconds, 1),
            "processor_seconds": round(processor, 1),
            "peak_memory_mib": round(int(peak or 0) / 2**20),
        }


def describe(usage: dict[str, float]) -> str:
    """The same in words."""
    return (
        f"{usage['seconds']:,.0f} s, {usage['processor_seconds']:,.0f} s of processors, "
        f"{usage['peak_memory_mib']:,.0f} MiB at the peak"
    )


def main() -> None:
    """Look at a process."""
    peak = memory_of_tree(int(sys.argv[1]))
    while not select.select([sys.stdin], [], [], SECONDS_BETWEEN_LOOKS)[0]:
        peak = max(peak, memory_of_tree(int(sys.argv[1])))
    with contextlib.suppress(BrokenPipeError):  # of a process that failed, and asks no more
        print(max(peak, memory_of_tree(int(sys.argv[1]))), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
