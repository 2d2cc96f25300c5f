"""Types for argparse."""

import argparse
import math
from collections.abc import Callable
from pathlib import Path


def at_least(least: int) -> Callable[[str], int]:
    """A whole number from ``least``, which is 0 or more, on."""

    def checked(word: str) -> int:
        if not (word.isascii() and word.isdigit() and int(word) >= least):
            raise argparse.ArgumentTypeError(f"{word!r} is not a whole number of at least {least}")
        return int(word)

    return checked


def number(holds: Callable[[float], bool], what: str) -> Callable[[str], float]:
    """A number for which a condition holds; the refusal says what it is not."""

    def checked(word: str) -> float:
        try:
            value = float(word)
        except ValueError:
            value = math.nan
        if not holds(value):  # as no comparison with NaN does
            raise argparse.ArgumentTypeError(f"{word!r} is not {what}")
        return value

    return checked


positive = number(lambda value: 0 < value < math.inf, "a number above 0")
not_negative = number(lambda value: 0 <= value < math.inf, "a number of at least 0")
share = number(lambda value: 0 < value <= 1, "a number above 0 and at most 1")
ratio = number(lambda value: 1 <= value < math.inf, "a number of at least 1")


def path(word: str) -> Path:
    """A path. An empty word, such as a variable of the shell that is not set, would be the current folder's."""
    if not word:
        raise argparse.ArgumentTypeError("the path is empty; the current folder is '.'")
    return Path(word)


def seed(word: str) -> int:
    """A whole number that torch takes for a seed."""
    value = int(word)
    if not -(2**63) <= value < 2**64:
        raise argparse.ArgumentTypeError(f"{value}: give a number from -2**63 to 2**64 - 1")
    return value
