"""scripts/common/lines.py keeps lines whole and in order in any number of processes."""

import multiprocessing
import os
import signal
import sys

import pytest

from common import lines


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    """A short file has several."""
    monkeypatch.setattr(lines, "BATCH", 7)


@pytest.mark.parametrize("workers", [1, 2, 5, 40])
def test_lines_are_mapped_in_order(monkeypatch, tmp_path, workers):
    """Lines of very different lengths, empty ones and a last one without line feed; a line feed alone ends a line."""
    monkeypatch.setenv("WORKERS", str(workers))
    texts = [f"{number} \u00fc\u2028\x85\r " * (number % 9) for number in range(200)] + ["end"]
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes("\n".join(texts).encode())
    lines.map_lines(lambda batch: [f"<{line}>" for line in batch], source, target)
    assert target.read_bytes().decode() == "".join(f"<{text}>\n" for text in texts)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source", "target"]


def test_a_failure_in_one_process_leaves_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("WORKERS", "3")

    def drop_some(batch):
        return [line for line in batch if line != "b"]

    (tmp_path / "source").write_text("a\n" * 299 + "b\n")
    with pytest.raises(SystemExit, match=r"source: [67] lines became \d, so .*target was not written"):
        lines.map_lines(drop_some, tmp_path / "source", tmp_path / "target")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_killed_process_is_noticed(monkeypatch, tmp_path):
    monkeypatch.setenv("WORKERS", "2")
    (tmp_path / "source").write_text("a\n" * 300)

    def kill(batch):
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(SystemExit, match="source: a process that worked on it was killed"):
        lines.map_lines(kill, tmp_path / "source", tmp_path / "target")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_signal_while_the_pool_starts_ends_it_as_at_any_other_time(monkeypatch, tmp_path):
    monkeypatch.setattr("concurrent.futures.process._ExecutorManagerThread.start", lambda thread: sys.exit(143))
    (tmp_path / "text").write_text("line\n", encoding="utf-8")
    with pytest.raises(SystemExit) as ended:
        lines.map_lines(list, tmp_path / "text", tmp_path / "out")
    assert ended.value.code == 143
    assert not list(tmp_path.glob("out*"))
    for process in multiprocessing.active_children():  # for which Python would wait as it ends
        process.join(timeout=60)
    assert not multiprocessing.active_children()
