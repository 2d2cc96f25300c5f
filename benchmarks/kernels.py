"""What a GPU does in one call: how many kernels, how long they take, which of them attend, and how much memory."""

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any, Callable, Dict, Iterable

import torch
from torch.autograd import DeviceType

ATTENTION = ("attention", "cudnn", "flash", "fmha", "sdp")  # parts of the names of kernels that attend


@dataclass
class Activity:
    """Attributes:
    kernels: how many were launched, copies and fillings of memory included.
    busy_seconds: the sum of their durations.
    peak_bytes: the most memory that was allocated beyond what was before.
    attention: how often each kernel ran that attends, by the beginning of its name.
    """

    kernels: float
    busy_seconds: float
    peak_bytes: int = 0
    attention: Dict[str, int] = field(default_factory=dict)

    def record(self) -> Dict[str, Any]:
        """For JSON."""
        return asdict(self)


def summed(events: Iterable[Any], steps: int = 1) -> Activity:
    """The activity that a profiler's events show, those of a GPU among them: kernels and seconds of one step."""
    kernels = [
        event
        for event in events
        if event.device_type == DeviceType.CUDA and not event.is_user_annotation and event.name != "Context Sync"
    ]
    attention = Counter(event.name[:70] for event in kernels if any(part in event.name.lower() for part in ATTENTION))
    busy = sum(event.time_range.elapsed_us() for event in kernels) / 1e6
    return Activity(len(kernels) / steps, busy / steps, attention=dict(attention))


def activity(run: Callable[[], object], steps: int = 1) -> Activity:
    """What the GPU does in one call of a function that was called before; of one of its steps, as for ``summed``."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run()
    torch.cuda.synchronize()
    peak = torch.cuda.max_memory_allocated() - before
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        run()
        torch.cuda.synchronize()
    found = summed(profile.events(), steps)
    found.peak_bytes = peak
    return found
