"""How far a long step is and how long it will still take, said now and then."""

import time

SECONDS_BETWEEN_REPORTS = 5
LEAST_PART = 0.02  # of the work, before which nothing is said of the rest


class Progress:
    """Prints lines such as ``pairs.en: 1,200,000 lines, 27%, 6 min left``.

    Args:
        name: what is worked on.
        unit: what is counted, in the plural.
        total: all the work there is, in the unit of the ``done`` of ``report``.
    """

    def __init__(self, name: str, unit: str, total: int) -> None:
        self.name, self.unit, self.total = name, unit, max(total, 1)
        self.begin = self.reported = time.monotonic()

    def report(self, count: int, done: int) -> None:
        """Print a line unless there was one a moment ago.

        Args:
            count: the number to show.
            done: how much of the total that is.
        """
        now = time.monotonic()
        if now < self.reported + SECONDS_BETWEEN_REPORTS:
            return
        self.reported = now
        part = min(done / self.total, 1)
        left = f", {duration((now - self.begin) * (1 - part) / part)} left" if part >= LEAST_PART else ""
        print(f"{self.name}: {count:,} {self.unit}, {part:.0%}{left}", flush=True)


def duration(seconds: float) -> str:
    """Seconds in the unit that suits them."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
