"""scripts/common/files.py writes files whole or not at all, and finds out before the work whether it can."""

from pathlib import Path

import pytest

from common import files


def test_whatever_fails_leaves_nothing(tmp_path):
    """An error of another kind than the disk's goes on as it is; the file that was there stays."""
    path = tmp_path / "file"
    files.write_text(path, "old")
    with pytest.raises(ValueError, match="halfway"), files.atomic(path) as temporary:
        temporary.write_text("half")
        raise ValueError("halfway")
    assert list(tmp_path.iterdir()) == [path] and path.read_text() == "old"


def test_files_that_appear_together(tmp_path):
    """None is replaced if one of them fails, even the last."""
    before = {name: f"old {name}" for name in ("a", "b")}
    for name, text in before.items():
        files.write_text(tmp_path / name, text)
    with pytest.raises(SystemExit, match="no pair"), files.atomic_together(tmp_path, before) as made:
        made["a"].write_text("new")
        raise SystemExit("no pair")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == before
    refused = pytest.raises(SystemExit, match=f"^{tmp_path} cannot be written: Is a directory.$")
    with refused, files.atomic_together(tmp_path, before):
        tmp_path.open("w")
    with files.atomic_together(tmp_path, before) as made:
        for name, temporary in made.items():
            temporary.write_text(f"new {name}")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "new a", "b": "new b"}


def test_a_file_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match=r"file/x\.json cannot be written: (File exists|Not a directory)\."):
        files.write_json(tmp_path / "file" / "x.json", {})


def test_what_is_no_file_is_not_replaced(tmp_path):
    """Root could replace a device; a link stays one, and what it names is written."""
    with pytest.raises(SystemExit, match=r"^/dev/null is no regular file; name another\.$"):
        files.write_text(Path("/dev/null"), "text")
    assert Path("/dev/null").is_char_device()
    (tmp_path / "link").symlink_to(tmp_path / "file")
    files.write_text(tmp_path / "link", "text")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "file").read_text() == "text"


def test_json_that_cannot_be_read(tmp_path):
    with pytest.raises(SystemExit, match=r"none\.json cannot be read: No such file or directory\.$"):
        files.read_json(tmp_path / "none.json")
    for damaged in (b"{", b"\xff"):
        (tmp_path / "x.json").write_bytes(damaged)
        with pytest.raises(SystemExit, match=r"x\.json is damaged, no JSON: "):
            files.read_json(tmp_path / "x.json")


def test_one_process_holds_a_file(tmp_path):
    """A second one hears so, and has it once the first has let go."""
    lock = tmp_path / "lock"
    with files.locked(lock, "first"), pytest.raises(SystemExit, match=r"^busy$"), files.locked(lock, "busy"):
        pass
    with files.locked(lock, "busy"):
        pass


def test_output_folder(tmp_path):
    """It is made, and nothing stays in it; one where root may write by its mode but cannot is found."""
    files.output_folder(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []
    for folder in ("/dev/null/x", "/sys/kernel"):
        with pytest.raises(SystemExit, match=f"--out: {folder} cannot be made a folder to write in: "):
            files.output_folder(Path(folder))


def test_keep_inputs(tmp_path):
    """A link leads to what would be written."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    files.keep_inputs([tmp_path / "folder" / "a"], [tmp_path / "folder" / "b", tmp_path / "a"])
    with pytest.raises(SystemExit, match=r"^--out: .*folder/a is read, and would be overwritten; name another folder"):
        files.keep_inputs([tmp_path / "folder" / "a"], [tmp_path / "link" / "a"])


def test_a_folder_for_results_that_never_came(tmp_path):
    """It goes again, unless it was there before or something is in it."""
    (tmp_path / "old").mkdir()
    for name, stays in (("new", False), ("old", True), ("used", True)):
        with pytest.raises(ValueError, match="halfway"), files.results_folder(tmp_path / name):
            if name == "used":
                (tmp_path / name / "file").touch()
            raise ValueError("halfway")
        assert (tmp_path / name).exists() == stays
