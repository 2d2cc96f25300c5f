"""Why a program of fairseq failed, found in what it said."""

import itertools
import re
import signal
from collections.abc import Iterable
from pathlib import Path

LONGEST = 400  # characters of a reason
RANK = re.compile(r"\[rank\d+\]:")  # before each line of a traceback of one of several processes
TORCHRUN = re.compile(r"[EIW]\d{4} .* \S*torch/distributed/")
# What torchrun says once a process has failed, before a traceback of its own.
FAILED = re.compile(r"\] failed \(exitcode: (-?\d+)\)")


def sentence(what: str, said: Iterable[str], status: int, log: Path) -> str:
    """The sentence for a program that failed.

    Args:
        what: failed, for whoever reads it.
        said: the lines that it said, or the last ones.
        status: its exit status, as of subprocess.
        log: where all that it said stands.
    """
    reason = reason_of([line.rstrip() for line in said], status)
    return f"{what} failed{f': {reason}' if reason else ''}; see the end of {log}."


def reason_of(lines: Iterable[str], status: int) -> str:
    """What the lines of a program that failed give as its reason, on one line; empty where they give none."""
    own = []
    for line in lines:
        if match := FAILED.search(line):
            status = int(match[1])
            break
        if not TORCHRUN.match(line):
            own.append(line)
    if status < 0:
        by = signal.Signals(-status).name
        return f"it was ended by {by}{', as when memory runs out' if by == 'SIGKILL' else ''}"
    own = of_the_first_rank(own)
    bare = ""  # the name of an exception that says nothing else, as one may that another one caused
    for place, line in reversed(list(enumerate(own))):
        if re.match(r"\S+: error: ", line):  # argparse's
            return line[:LONGEST]
        if line == "Traceback (most recent call last):":
            message = first_lines(list(itertools.dropwhile(lambda line: line.startswith(" "), own[place + 1 :])))
            if ": " in message:
                return message[:LONGEST]
            bare = bare or message
    return bare or next((line for line in reversed(own) if line and "| INFO |" not in line), "")[:LONGEST].rstrip(".")


def of_the_first_rank(lines: list[str]) -> list[str]:
    """The lines without those of the processes that failed later, most often since the first one had."""
    first = next((match[0] for line in lines if (match := RANK.match(line))), "")
    return [line.removeprefix(first).removeprefix(" " if first else "") for line in lines if line.startswith(first)]


def first_lines(message: list[str]) -> str:
    """An exception's message as a part of a sentence: its first line, and the second where that has the point."""
    first, *more = message or [""]
    return " ".join([first, *(line.strip() for line in more[:1])] if first.endswith(":") else [first]).rstrip(".")
