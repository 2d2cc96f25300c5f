"""Keep a benchmark within ``--limit`` seconds: what may not end in time is not begun, and the report names it."""

import argparse
import time
from typing import Any, Dict, Iterator, Tuple, TypeVar

Item = TypeVar("Item")


def within(settings: argparse.Namespace, size: str, items: Dict[Any, Item]) -> Iterator[Tuple[Any, Item]]:
    """The items of a size one by one, until the next one, if it takes as long as the longest so far, would be late.

    Args:
        settings: the command line's. Each of its sizes may take an equal share of the time.
        size: one of these.
        items: by name.
    """
    longest = 0.0
    share = (settings.sizes.index(size) + 1) / len(settings.sizes)
    for name, item in items.items():
        begun = time.monotonic()
        if settings.limit and begun + longest > settings.begun + share * settings.limit:
            settings.left_out.append(f"{size}, {name}")
            continue
        yield name, item
        longest = max(longest, time.monotonic() - begun)
