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
from pathlib import Path

REQUIREMENT = "homeassistant==2025.4.4"
WHEEL = "homeassistant-2025.4.4-py3-none-any.whl"
SHA256 = "b7970fe3ce3a9d032a3a5dee3cbf71b227e7f23fad14a23855ee252542ef2631"
MEMBER = re.compile(r"(homeassistant/components/[^/]+/translations/)([^/]+)\.json")
MIN_WORDS = 3
# Placeholders, Markdown, HTML and addresses: a text that holds them is a template rather than a sentence.
MARKUP = re.compile(r"[][{}<>`*_=|#\\]|\w://|www\.|/\w*/")


def fetch(folder):
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


def download(wheel):
    """Let pip download the wheel, then move it into place, so that an interruption leaves nothing."""
    wheel.parent.mkdir(parents=True, exist_ok=True)
    print(f"Downloading {REQUIREMENT} (43 MB).", flush=True)
    with tempfile.TemporaryDirectory(dir=wheel.parent) as folder:
        # A wheel of pure Python that is only read: the Python it wants (3.13) need not be the one that runs.
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
        command += ["--python-version", "3.13", "--dest", folder, REQUIREMENT]
        done = subprocess.run(command)
        if done.returncode or not (Path(folder) / WHEEL).exists():
            raise SystemExit(
                f"pip could not download {REQUIREMENT} (its message is above). Check the network or pip's index, "
                f"put {WHEEL} into {wheel.parent} by hand, or give your own --source-text and --target-text."
            )
        (Path(folder) / WHEEL).replace(wheel)


def flatten(tree, path=()):
    """Yield ``(path, text)`` for every string of nested dictionaries."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from flatten(value, (*path, name))
        elif isinstance(value, str):
            yield (*path, name), value


def is_sentence(text):
    """Whether ``text`` has at least three words and no markup."""
    return len(text.split()) >= MIN_WORDS and not MARKUP.search(text)


def read_pairs(wheel, source_lang, target_lang):
    """Return the wheel's pairs of sentences, matched by key, in a fixed order."""
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
    return [pair for pair in pairs if all(map(is_sentence, pair))]
