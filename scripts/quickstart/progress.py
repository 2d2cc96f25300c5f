"""How long the quick start still takes."""

import time
from collections.abc import Mapping


class Progress:
    """Estimates the time left from the steps that are left and the pace of what was done.

    Args:
        steps: seconds that each step takes on two ordinary cores, by name and in order.
    """

    def __init__(self, steps: Mapping[str, float]) -> None:
        self.seconds_left = dict(steps)
        self.pace = 1.0  # seconds here for one on two ordinary cores
        self.seconds: dict[str, float] = {}  # that each step took
        self.started = 0.0
        self.first: tuple[float, float] | None = None  # time and done part of the step's first report

    def begin(self, step: str) -> None:
        """Start a step, and say so."""
        self.started, self.first = time.monotonic(), None
        print(f"\n== {step}   ({self.left(step)})", flush=True)

    def end(self, step: str) -> None:
        """A step is over, or was found done."""
        del self.seconds_left[step]
        self.seconds[step] = round(time.monotonic() - self.started, 1)

    def left(self, step: str, done: float = 0.0) -> str:
        """What to show of the time left of all.

        Args:
            step: the one at work.
            done: which part of it is; from its first report on the pace is measured, since starting tells nothing.
        """
        now = time.monotonic()
        if done and not self.first:
            self.first = now, done
        elif done:
            self.pace = (now - self.first[0]) / ((done - self.first[1]) * self.seconds_left[step])
        seconds = self.pace * (sum(self.seconds_left.values()) - done * self.seconds_left[step])
        return f"about {seconds / 60:.0f} min left" if seconds >= 90 else f"about {seconds:.0f} s left"
