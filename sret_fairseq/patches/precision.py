"""``--bf16`` on a GPU or CPU: fairseq's command line takes it for a TPU, whatever the machine."""

import functools
import importlib.util
from typing import Any, Callable

from fairseq.models import ARCH_CONFIG_REGISTRY


def without_tpu(configure: Callable[[Any], None]) -> Callable[[Any], None]:
    """An architecture function that also takes back ``--tpu`` where there is no software for a TPU."""

    @functools.wraps(configure)
    def configure_without_tpu(args: Any) -> None:
        configure(args)
        if getattr(args, "bf16", False) and importlib.util.find_spec("torch_xla") is None:
            args.tpu = False

    return configure_without_tpu


def allow_bfloat16() -> None:
    """Make ``--bf16`` work without a TPU for every architecture registered so far.

    fairseq calls the architecture's function as its last look at the command line, so that is the place to do so.
    """
    for name, configure in ARCH_CONFIG_REGISTRY.items():
        ARCH_CONFIG_REGISTRY[name] = without_tpu(configure)
