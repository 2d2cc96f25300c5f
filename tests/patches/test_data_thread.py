"""The thread that reads batches ahead has ended before the interpreter does, also one that waits for room."""

import pytest
from fairseq.data.iterators import BufferedIterator

from sret_fairseq.patches.data_thread import stop_reading
from support.models import python

# What is registered first runs last: after the plugin has ended the threads.
SCRIPT = """
import atexit, threading
atexit.register(lambda: print("threads:", threading.active_count()))
import sret_fairseq
from fairseq.data.iterators import BufferedIterator
batches = BufferedIterator(2, range(1000))
next(batches)
print("threads:", threading.active_count())
"""


@pytest.mark.parametrize("buffer", [1, 2, 10])
def test_a_thread_that_waits_for_room_is_ended(buffer):
    """However few batches are kept."""
    batches = BufferedIterator(buffer, range(1000))
    assert next(batches) == 0 and batches._consumer.is_alive()
    stop_reading()
    assert not batches._consumer.is_alive()


def test_threads_end_before_the_interpreter():
    """Without the plugin's registration the last line would say 2."""
    printed = python("-c", SCRIPT).splitlines()
    assert [line for line in printed if line.startswith("threads: ")] == ["threads: 2", "threads: 1"]
