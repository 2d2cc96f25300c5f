"""Types for argparse."""

import argparse
from collections.abc import Callable


def at_least(least: int) -> Callable[[str], int]:
    """A whole number from ``least``, which is 0 or more, on."""

    def number(word: str) -> int:
        if not (word.isascii() and word.isdigit() and int(word) >= least):
            raise argparse.ArgumentTypeError(f"{word!r} is not a whole number of at least {least}")
        return int(word)

    return number


def seed(word: str) -> int:
    """A whole number that torch takes for a seed."""
    value = int(word)
    if not -(2**63) <= value < 2**64:
        raise argparse.ArgumentTypeError(f"{value}: give a number from -2**63 to 2**64 - 1")
    return value
