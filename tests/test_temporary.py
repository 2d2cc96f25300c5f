"""sret_fairseq/temporary.py: what killed processes leave is cleared, and what is at work is left alone."""

import fcntl
import multiprocessing
import os
import signal

from common import files
from sret_fairseq import temporary


def die_halfway(path):
    """Write half of a file, as a script does, and be killed."""
    with files.atomic(path) as half:
        half.write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)


def test_what_a_killed_script_left_goes_with_the_next_writing(tmp_path):
    """With it alone: another process may be at work, and other files have temporary ones too."""
    path = tmp_path / "a[1].json"
    files.write_text(path, "old")
    child = multiprocessing.get_context("fork").Process(target=die_halfway, args=[path])
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL and path.read_text() == "old"
    (abandoned,) = tmp_path.glob("*.tmp")
    others = [tmp_path / name for name in ("a[1].json.12345678.tmp", "a1.json.12345678.tmp", "a[1].json.tmp")]
    named_like_one = tmp_path / "a[1].json.whatever.tmp"
    named_like_one.touch()
    for other in others:
        other.touch()
    with open(others[0], "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        files.write_text(path, "new")
    assert path.read_text() == "new" and not abandoned.exists() and all(other.exists() for other in others)
    files.write_text(path, "newer")
    assert [other.exists() for other in others] == [False, True, True] and named_like_one.exists()


def test_folders_are_cleared_alike(tmp_path):
    """What a killed process left goes, with all that is in it; what is at work stays, and what was moved is kept."""
    abandoned, path = tmp_path / "out.0123abcd.tmp", str(tmp_path / "out")
    (abandoned / "deeper").mkdir(parents=True)
    with temporary.beside(path, folder=True) as first, temporary.beside(path, folder=True) as second:
        assert not abandoned.exists() and os.path.isdir(first) and os.path.isdir(second) and first != second
        os.mkdir(os.path.join(first, "kept"))
        os.rename(first, path)
    assert os.listdir(tmp_path) == ["out"] and os.listdir(path) == ["kept"]


def test_a_file_that_was_removed_before_it_was_locked(tmp_path, monkeypatch):
    """By a process that took it for abandoned in that moment: another one is made."""
    removed, lock = [], fcntl.flock

    def late(file, how):
        if not removed:
            removed.extend(tmp_path.iterdir())
            removed[0].unlink()
        lock(file, how)

    monkeypatch.setattr(temporary.fcntl, "flock", late)
    with temporary.beside(str(tmp_path / "a")) as name:
        assert len(removed) == 1 and os.path.exists(name) and name != str(removed[0])
    assert list(tmp_path.iterdir()) == []


def test_the_mode_is_that_of_any_new_file(tmp_path):
    """A temporary file of Python's would keep others out."""
    (tmp_path / "plain").touch()
    files.write_text(tmp_path / "whole", "text")
    assert (tmp_path / "whole").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_without_locks_nothing_is_lost(tmp_path, monkeypatch):
    """A file system of a network may have none: files are written, and nothing is removed."""

    def refuse(*_):
        raise OSError(37, "No locks available")

    (tmp_path / "a.12345678.tmp").touch()
    monkeypatch.setattr(temporary.fcntl, "flock", refuse)
    files.write_text(tmp_path / "a", "text")
    assert (tmp_path / "a").read_text() == "text" and (tmp_path / "a.12345678.tmp").exists()
