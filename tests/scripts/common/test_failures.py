"""scripts/common/failures.py finds the reason in what a program of fairseq said before it failed."""

import pytest

from common import failures

INFO = "2026-01-02 03:04:05 | INFO | fairseq_cli.train | done"
TRACEBACK = "Traceback (most recent call last):"
CAUSED = "During handling of the above exception, another exception occurred:"
RAISED = [TRACEBACK, '  File "x.py", line 1, in x', "    raise ValueError", "ValueError: too small", "(of two lines)"]
TORCHRUN = "1126 16:48:49.313000 22831 torch/distributed/elastic/multiprocessing/api.py:1002]"
REPORT = [TRACEBACK, '  File "run.py", line 9, in run', "torch.distributed.ChildFailedError: ", "=====", "FAILED"]


@pytest.mark.parametrize(
    "lines, expected",
    [
        (["usage: x", "           data", "x.py: error: unrecognized arguments: --y"], "x.py: error: unrecognized arg"),
        ([INFO, *RAISED, INFO], "ValueError: too small"),
        ([*RAISED, CAUSED, TRACEBACK, "  File", "RuntimeError: Error:", "\tMissing key"], "RuntimeError: Error: Miss"),
        ([*RAISED, CAUSED, TRACEBACK, "  File", "StopIteration"], "ValueError: too small"),
        ([TRACEBACK, "  File", "KeyboardInterrupt"], "KeyboardInterrupt"),
        ([INFO, "sret_transformer: --nll-ratio -1 must be 0 or more.", ""], "sret_transformer: --nll-ratio -1 must"),
        ([INFO], ""),
        ([], ""),
        # Of several processes: the first that failed, before what torchrun says.
        (
            [f"[rank1]: {line}" for line in RAISED]
            + ["[rank0]: Traceback (most recent call last):", "[rank0]: RuntimeError: Connection closed by peer"]
            + [f"W{TORCHRUN} Sending process 3 closing signal SIGTERM", f"E{TORCHRUN} failed (exitcode: 1) local_rank"]
            + REPORT,
            "ValueError: too small",
        ),
        (["a sentence.", f"E{TORCHRUN} failed (exitcode: 1) local_rank: 0", *REPORT], "a sentence"),
        (
            [INFO, f"E{TORCHRUN} failed (exitcode: -9) local_rank: 0", *REPORT],
            "it was ended by SIGKILL, as when memory",
        ),
    ],
)
def test_the_reason(lines, expected):
    found = failures.reason_of(lines, 1)
    assert found.startswith(expected) and bool(found) == bool(expected) and not found.endswith(".")


def test_a_signal():
    assert failures.reason_of(RAISED, -15) == "it was ended by SIGTERM"


def test_the_sentence(tmp_path):
    said = ["x.py: error: no\n"]
    assert failures.sentence("train: sret", said, 2, tmp_path) == (
        f"train: sret failed: x.py: error: no; see the end of {tmp_path}."
    )
    assert failures.sentence("train: sret", [], 2, tmp_path) == f"train: sret failed; see the end of {tmp_path}."
