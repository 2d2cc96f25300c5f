"""Lets a training that is refused while its data are read end with its sentence and status 1.

fairseq reads batches ahead in a thread that it leaves running. Where the interpreter ends while that thread makes a
batch (with ``--num-workers 0``, as its first one is refused), the process is aborted instead ("terminate called without
an active exception", SIGABRT).
"""

import atexit
import contextlib
import queue
import threading
import time

from fairseq.data.iterators import BackgroundConsumer

PATIENCE = 10  # seconds, in which a batch is made


def stop_at_exit() -> None:
    """Have the interpreter call ``stop_reading`` when it ends."""
    atexit.register(stop_reading)


def stop_reading() -> None:
    """End fairseq's threads that read batches, each after the batch in its hands."""
    end = time.monotonic() + PATIENCE
    for thread in threading.enumerate():
        if isinstance(thread, BackgroundConsumer):
            thread._max_len = 0  # fewer than it has read, so that it stops
            while thread.is_alive() and time.monotonic() < end:
                with contextlib.suppress(queue.Empty):
                    thread._queue.get_nowait()  # room for that batch, and for the mark of the end
                thread.join(0.01)
