"""scripts/quickstart/home_assistant.py reads sentence pairs from a wheel, and only from the wheel that it knows."""

import hashlib
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from quickstart import home_assistant
from support.models import REPOSITORY

SCRIPTS = REPOSITORY / "scripts"


@pytest.fixture
def wheel(monkeypatch, tmp_path):
    """A tiny wheel of the right name, whose checksum is taken for the right one."""
    texts = {
        "de": {
            "a": {"title": "Das ist ein Satz.", "code": "Gib {name} ein bitte"},
            "b": "Zu kurz",
            "c": "Nur auf Deutsch da",
        },
        "en": {"a": {"title": "This is a sentence.", "code": "Please enter {name} here"}, "b": "Too short"},
        "fr": {"a": {"title": "Voici une phrase."}},
    }
    path = tmp_path / home_assistant.WHEEL
    with zipfile.ZipFile(path, "w") as archive:
        for language, tree in texts.items():
            archive.writestr(f"homeassistant/components/x/translations/{language}.json", json.dumps(tree))
        archive.writestr("homeassistant/components/x/strings.json", "not a translation")
    monkeypatch.setattr(home_assistant, "SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    return path


def test_pairs_are_matched_by_key_and_without_markup_or_short_texts(wheel):
    assert home_assistant.fetch(wheel.parent) == wheel
    assert home_assistant.read_pairs(wheel, "de", "en") == [("Das ist ein Satz.", "This is a sentence.")]
    assert home_assistant.read_pairs(wheel, "en", "fr") == [("This is a sentence.", "Voici une phrase.")]


@pytest.mark.parametrize(
    "text, language, is_one",
    [
        ("Das ist gut", "de", True),
        ("Das ist", "de", False),
        ("无法连接到设备", "zh-Hans", True),
        ("设备", "zh-Hans", False),
        ("無法連線 {device}", "zh-Hant", False),
    ],
)
def test_short_texts_by_language(text, language, is_one):
    assert home_assistant.is_sentence(text, language) == is_one


def test_a_language_that_is_not_there_is_refused(wheel):
    with pytest.raises(SystemExit, match="no translations for the language 'xx'"):
        home_assistant.read_pairs(wheel, "xx", "en")


def test_a_wrong_checksum_is_refused(wheel):
    wheel.write_bytes(wheel.read_bytes() + b"!")
    with pytest.raises(SystemExit, match=r"has the SHA-256 \w+ instead of \w+: delete it and run again"):
        home_assistant.fetch(wheel.parent)


def test_a_failed_download_is_one_clear_sentence_and_leaves_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(subprocess, "run", lambda command: subprocess.CompletedProcess(command, 1))
    with pytest.raises(SystemExit, match=r"pip could not download homeassistant==.*--source-text"):
        home_assistant.fetch(tmp_path / "download")
    assert list((tmp_path / "download").iterdir()) == []


def test_a_download_is_moved_into_place_and_verified(wheel, monkeypatch, tmp_path):
    def download(command):
        assert command[0] == sys.executable and home_assistant.REQUIREMENT in command
        (Path(command[command.index("--dest") + 1]) / wheel.name).write_bytes(wheel.read_bytes())
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", download)
    target = tmp_path / "download"
    assert home_assistant.fetch(target).read_bytes() == wheel.read_bytes()
    assert [path.name for path in target.iterdir()] == [wheel.name]


def test_a_folder_that_cannot_be_is_one_clear_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match=r"--download: .*/file/sub/.*\.whl cannot be put there or read: Not a dir"):
        home_assistant.fetch(tmp_path / "file" / "sub")
