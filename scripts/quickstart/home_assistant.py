"""The quick start's corpus: interface translations inside a wheel of Home Assistant (Apache-2.0) on PyPI.

Every integration ships its interface texts as ``translations/LANG.json``, with the same keys in each.
"""

import hashlib
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

REQUIREMENT = "homeassistant==2026.10.4"
WHEEL = "homeassistant-2026.10.4-py3-none-any.whl"
SHA256 = "71843060980a763187d856a8ff170640f1e287a7b741334cd838c81404f1f452"
MEMBER = re.compile(r"(homeassistant/components/[^/]+/translations/)([^/]+)\.json")
MIN_WORDS = 3
# Languages written without spaces between words, and how many characters take the place of that number of words.
SPACELESS = ("zh", "ja", "th")
MIN_CHARACTERS = 6
# Placeholders, Markdown, HTML and addresses: a text that holds them is a template rather than a sentence.
MARKUP = re.compile(r"[][{}<>`*_=|#\\]|\w://|www\.|/\w*/")


def fetch(folder: Path) -> Path:
    """Return the verified wheel in ``folder``; pip downloads it there first when it is missing."""
    wheel = Path(folder) / WHEEL
    try:
        if not wheel.exists():
            download(wheel)
        found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    except OSError as error:
        raise SystemExit(f"--download: {wheel} cannot be put there or read: {error.strerror}.") from error
    if found != SHA256:
        raise SystemExit(f"{wheel} has the SHA-256 {found} instead of {SHA256}: delete it and run again.")
    return wheel


def download(wheel: Path) -> None:
    """Let pip download the wheel, then move it into place, so that an interruption leaves nothing."""
    wheel.parent.mkdir(parents=True, exist_ok=True)
    print(f"Downloading {REQUIREMENT} (63 MB).", flush=True)
    with tempfile.TemporaryDirectory(dir=wheel.parent) as folder:
        # A wheel of pure Python that is only read: the Python it wants need not be the one that runs.
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
        command += ["--python-version", "3.15", "--dest", folder, REQUIREMENT]
        done = subprocess.run(command)
        if done.returncode or not (Path(folder) / WHEEL).exists():
            raise SystemExit(
                f"pip could not download {REQUIREMENT} (its message is above). Check the network or pip's index, "
                f"put {WHEEL} into {wheel.parent} by hand, or give your own --source-text and --target-text."
            )
        (Path(folder) / WHEEL).replace(wheel)


def flatten(tree: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield ``(path, text)`` for every string of nested dictionaries."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from flatten(value, (*path, name))
        elif isinstance(value, str):
            yield (*path, name), value


def is_sentence(text: str, language: str) -> bool:
    """Whether ``text`` has at least three words, or what takes their place, and no markup."""
    if language.partition("-")[0] in SPACELESS:
        long_enough = len(text) >= MIN_CHARACTERS
    else:
        long_enough = len(text.split()) >= MIN_WORDS
    return long_enough and not MARKUP.search(text)


def read_pairs(wheel: Path, source_lang: str, target_lang: str) -> list[tuple[str, str]]:
    """Return the wheel's pairs of sentences, matched by key, in a fixed order.

    Raises:
        SystemExit: it has none in a language.
    """
    texts = {source_lang: {}, target_lang: {}}
    with zipfile.ZipFile(wheel) as archive:
        for name in sorted(archive.namelist()):
            match = MEMBER.fullmatch(name)
            if match and match[2] in texts:
                texts[match[2]].update(flatten(json.loads(archive.read(name)), (match[1],)))
    for language, found in texts.items():
        if not found:
            raise SystemExit(f"{wheel} has no translations for the language {language!r} (try de, en, fr, nl or es).")
    shared = sorted(texts[source_lang].keys() & texts[target_lang].keys())
    pairs = ((texts[source_lang][path], texts[target_lang][path]) for path in shared)
    return [pair for pair in pairs if is_sentence(pair[0], source_lang) and is_sentence(pair[1], target_lang)]
