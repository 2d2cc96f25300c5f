"""fairseq-train that SIGTERM or SIGUSR1 ends after the current update, with a checkpoint; a second SIGTERM ends it."""

import functools
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

import torch
from fairseq import checkpoint_utils
from fairseq.trainer import Trainer
from fairseq_cli import train

from common import command

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
asked = False


def ask(number: int, frame: FrameType | None) -> None:
    """Remember that the training shall end, as the handler of a signal."""
    global asked
    asked = True
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def stop_asked(trainer: Trainer) -> bool:
    """Whether the training shall end, of which all its processes hear in the same update."""
    if not torch.distributed.is_initialized():
        return asked
    flag = torch.tensor(int(asked), device=trainer.device)
    torch.distributed.all_reduce(flag, op=torch.distributed.ReduceOp.MAX)
    return bool(flag)


def stoppable(validate_and_save: Callable[..., tuple[list, bool]]) -> Callable[..., tuple[list, bool]]:
    """What fairseq does after each update, which here saves and ends where that was asked for."""

    @functools.wraps(validate_and_save)
    def wrapper(cfg: Any, trainer: Trainer, task: Any, epoch_itr: Any, *rest: Any) -> tuple[list, bool]:
        if not stop_asked(trainer):
            return validate_and_save(cfg, trainer, task, epoch_itr, *rest)
        checkpoint_utils.save_checkpoint(cfg.checkpoint, trainer, epoch_itr, None)
        return [None], True

    return wrapper


if __name__ == "__main__":
    command.end_with_parent()  # which torchrun does not see to when it is killed
    for each in SIGNALS:
        signal.signal(each, ask)
    train.validate_and_save = stoppable(train.validate_and_save)
    train.cli_main()
    for each in SIGNALS:  # Python lets go of its handlers as it ends, when the signal, which comes again, would kill it
        signal.signal(each, signal.SIG_IGN)
