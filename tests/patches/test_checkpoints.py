"""Damaged checkpoints are refused, copies are whole, and a model knows its dictionaries."""

import argparse
import fcntl
import multiprocessing
import os
import shutil
import signal
import zipfile
from pathlib import Path

import pytest
import torch
from fairseq import checkpoint_utils
from fairseq.file_io import PathManager

import sret_fairseq  # noqa: F401  (keeps checkpoints whole)
from sret_fairseq.dictionaries import ForeignDictionary
from sret_fairseq.model import SretTransformerModel
from sret_fairseq.patches.checkpoints import CheckpointError, read
from support import models
from support.checkpoints import write_checkpoint
from support.models import Task, build_sret


def checkpoint(path: Path) -> Path:
    """A checkpoint with one tensor of 4,000 bytes."""
    return write_checkpoint(path, {"weight": torch.arange(1000.0)})


def test_a_whole_checkpoint_loads(tmp_path):
    """Verification changes nothing of what is read."""
    state = checkpoint_utils.load_checkpoint_to_cpu(str(checkpoint(tmp_path / "a.pt")))
    assert torch.equal(state["model"]["weight"], torch.arange(1000.0))


def test_a_flipped_bit_is_noticed(tmp_path):
    """One bit of one number: torch alone would load it, as the first line shows."""
    path = checkpoint(tmp_path / "a.pt")
    contents = bytearray(path.read_bytes())
    place = contents.index(torch.arange(1000.0).numpy().tobytes()) + 2002
    contents[place] ^= 1
    path.write_bytes(contents)
    assert not torch.equal(torch.load(path, weights_only=True)["model"]["weight"], torch.arange(1000.0))
    with pytest.raises(CheckpointError, match=r"a\.pt is damaged \(Bad CRC-32 for file .*\); use another"):
        checkpoint_utils.load_checkpoint_to_cpu(str(path))


@pytest.mark.parametrize("share", [0.01, 0.5, 0.999])
def test_a_truncated_checkpoint_is_noticed(tmp_path, share):
    """Wherever the file ends."""
    path = checkpoint(tmp_path / "a.pt")
    os.truncate(path, int(path.stat().st_size * share))
    with pytest.raises(CheckpointError, match=r"a\.pt is damaged"):
        checkpoint_utils.load_checkpoint_to_cpu(str(path))


# Of an entry in a zip file's directory: the place of a byte behind the entry's start, and a bit of it.
DIRECTORY_BITS = {"encrypted": (8, 0x01), "compressed": (10, 0x08), "folder": (38, 0x10)}


@pytest.mark.parametrize("place, bit", DIRECTORY_BITS.values(), ids=DIRECTORY_BITS)
def test_a_flipped_bit_of_the_directory_is_noticed(tmp_path, place, bit):
    """Contents and their checksums are right, but torch would read the tensor otherwise, or not at all."""
    path = checkpoint(tmp_path / "a.pt")
    contents = bytearray(path.read_bytes())
    directory = contents.index(b"PK\x01\x02")
    entry = contents.rindex(b"PK\x01\x02", directory, contents.rindex(b"/data/0"))
    contents[entry + place] ^= bit
    path.write_bytes(contents)
    with pytest.raises(CheckpointError, match=r"a\.pt is damaged"):
        checkpoint_utils.load_checkpoint_to_cpu(str(path))


@pytest.mark.parametrize("place", range(4))
def test_damage_in_the_first_bytes(tmp_path, place):
    """By which torch tells its formats apart."""
    contents = bytearray(checkpoint(tmp_path / "whole.pt").read_bytes())
    contents[place] ^= 1
    (tmp_path / "a.pt").write_bytes(contents)
    with pytest.raises(CheckpointError, match=r"a\.pt cannot be read: it is damaged or no checkpoint\.$"):
        read(tmp_path / "a.pt")


@pytest.mark.parametrize("size", range(4))
def test_files_of_a_few_bytes(tmp_path, size):
    (tmp_path / "a.pt").write_bytes(checkpoint(tmp_path / "whole.pt").read_bytes()[:size])
    with pytest.raises(CheckpointError, match=r"a\.pt cannot be read: it is damaged or no checkpoint\.$"):
        read(tmp_path / "a.pt")


@pytest.mark.parametrize("path", ["/dev/zero", "/tmp"])
def test_what_is_no_file(path):
    """And would be read for ever."""
    with pytest.raises(CheckpointError, match=f"^{path} cannot be read: it is a directory or a device"):
        read(path)


def test_a_checkpoint_without_checksums_loads(tmp_path):
    """Which torch writes where its user asks it to."""
    torch.serialization.set_crc32_options(False)
    try:
        path = checkpoint(tmp_path / "a.pt")
    finally:
        torch.serialization.set_crc32_options(True)
    with zipfile.ZipFile(path) as archive:
        assert not any(entry.CRC for entry in archive.infolist() if "/data/" in entry.filename)
    assert torch.equal(read(path)["model"]["weight"], torch.arange(1000.0))


def test_a_zip_bomb_is_not_unpacked(tmp_path, monkeypatch):
    """Compressed entries are refused by the directory alone; so are entries that share their bytes."""
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_: pytest.fail("an entry was read"))
    with zipfile.ZipFile(tmp_path / "a.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        monkeypatch.undo()
        archive.writestr("a/data.pkl", bytes(10**6))
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_: pytest.fail("an entry was read"))
    with pytest.raises(CheckpointError, match=r"a\.pt is damaged or no checkpoint \(entry of a/data\.pkl\)"):
        read(tmp_path / "a.pt")
    contents = bytearray(checkpoint(tmp_path / "whole.pt").read_bytes())
    directory = contents.index(b"PK\x01\x02")
    contents[directory + 20 : directory + 28] = (10**9).to_bytes(4, "little") * 2  # the sizes of the first entry
    (tmp_path / "b.pt").write_bytes(contents)
    with pytest.raises(CheckpointError, match=r"b\.pt is damaged or no checkpoint: it says that it is larger"):
        read(tmp_path / "b.pt")


def test_the_old_format_still_loads(tmp_path):
    """Checkpoints of torch before 1.6 are no zip files and carry no checksums."""
    state = torch.load(checkpoint(tmp_path / "a.pt"), weights_only=True)
    torch.save(state, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    loaded = checkpoint_utils.load_checkpoint_to_cpu(str(tmp_path / "old.pt"))
    assert torch.equal(loaded["model"]["weight"], torch.arange(1000.0))


def test_a_copy_replaces_the_old_file(tmp_path):
    """And leaves nothing else behind."""
    (tmp_path / "new").write_text("new")
    (tmp_path / "last").write_text("old")
    assert PathManager.copy(str(tmp_path / "new"), str(tmp_path / "last"), overwrite=True)
    assert (tmp_path / "last").read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last", "new"]


def test_a_link_is_written_through(tmp_path):
    """As fairseq does; and two trainings in one folder write to names of their own."""
    (tmp_path / "new").write_text("new")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "last").write_text("old")
    (tmp_path / "last").symlink_to(tmp_path / "elsewhere" / "last")
    (tmp_path / "last.tmp").mkdir()  # the name of another training's
    assert PathManager.copy(str(tmp_path / "new"), str(tmp_path / "last"), overwrite=True)
    assert (tmp_path / "last").is_symlink() and (tmp_path / "elsewhere" / "last").read_text() == "new"
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["last"]


def test_a_copy_that_fails_leaves_nothing(tmp_path, monkeypatch):
    """A full disk in the middle: the error arrives, the old file stays, and the half of the new one is gone."""
    (tmp_path / "new").write_text("new" * 1000)
    (tmp_path / "last").write_text("old")

    def fill(source, target):
        Path(target).write_text("new" * 500)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", fill)
    with pytest.raises(OSError, match="No space left"):
        PathManager.copy(str(tmp_path / "new"), str(tmp_path / "last"), overwrite=True)
    assert (tmp_path / "last").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last", "new"]


def test_killed_while_copying(tmp_path):
    """SIGKILL with half of the bytes written: the old file stays, and the next copy removes the half."""
    (tmp_path / "new").write_text("new" * 1000)
    (tmp_path / "last").write_text("old")

    def die_halfway(source, target):
        Path(target).write_text(Path(source).read_text()[:1000])
        os.kill(os.getpid(), signal.SIGKILL)

    def copy():
        shutil.copyfile = die_halfway
        PathManager.copy(str(tmp_path / "new"), str(tmp_path / "last"), overwrite=True)

    child = multiprocessing.get_context("fork").Process(target=copy)
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert (tmp_path / "last").read_text() == "old"

    (abandoned,) = tmp_path.glob("*.tmp")
    other = tmp_path / "last.12345678.tmp"
    with open(other, "w") as file:  # of a training that is at work
        fcntl.flock(file, fcntl.LOCK_EX)
        assert PathManager.copy(str(tmp_path / "new"), str(tmp_path / "last"), overwrite=True)
    assert not abandoned.exists() and other.exists()


@pytest.mark.parametrize("side", ["source", "target"])
def test_another_dictionary_is_refused(side, tmp_path):
    """Of the same size, with one word changed: the weights would fit, and the translation would be wrong."""
    torch.save(build_sret().state_dict(), tmp_path / "weights.pt")
    weights = torch.load(tmp_path / "weights.pt", weights_only=True)
    build_sret(seed=1).load_state_dict(weights)
    task = Task()
    getattr(task, f"{side}_dictionary").symbols[7] = "other"
    other = SretTransformerModel.build_model(argparse.Namespace(**models.SIZES), task)
    with pytest.raises(ForeignDictionary, match=f"the {side} dictionary is not the one"):
        other.load_state_dict(weights)


def test_weights_of_another_origin_load():
    """Without metadata, as other tools write state dicts, there is nothing to compare."""
    build_sret().load_state_dict(dict(build_sret().state_dict()))


def test_building_twice_gives_the_same_options():
    """What a checkpoint holds of the options is stable: building from them changes none."""
    model_args = argparse.Namespace(**models.SIZES)
    SretTransformerModel.build_model(model_args, Task())
    before = dict(vars(model_args))
    SretTransformerModel.build_model(model_args, Task())
    assert vars(model_args) == before
