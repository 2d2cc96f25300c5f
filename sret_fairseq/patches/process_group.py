"""Lets a process that trained with gloo, on CPUs, end as it should.

fairseq never destroys its process group. Where gloo's threads then outlive the interpreter, a thread that still has to
release a tensor aborts the process ("terminate called without an active exception", SIGABRT): now and then a training
that is complete and saved ends as a failure (seen with torch 2.13; https://github.com/pytorch/pytorch/pull/179291).
"""

import atexit

import torch.distributed as dist


def leave_at_exit() -> None:
    """Have the interpreter call ``leave_gloo`` when it ends."""
    atexit.register(leave_gloo)


def leave_gloo() -> None:
    """Destroy the process group if its backend is gloo; how NCCL's ends is left to fairseq and torch."""
    if dist.is_initialized() and dist.get_backend() == dist.Backend.GLOO:
        dist.destroy_process_group()
