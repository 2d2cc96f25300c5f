"""Runs of the recipes' prepare.sh in the environment of the tests, and a look at what they wrote."""

import hashlib
import os
import struct
import subprocess
import sys

from support.models import REPOSITORY

SETTINGS = ("DATA", "MIRRORS", "SHA256", "MOSES")


def command(recipe, *words):
    """The command line of a recipe's prepare.sh."""
    return ["bash", str(REPOSITORY / "examples" / recipe / "prepare.sh"), *map(str, words)]


def environment(**variables):
    """The environment of the tests without the recipes' own variables, and tiny BPE."""
    inherited = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    tiny = {"VENV": sys.prefix, "WORKERS": "2", "BPE_OPERATIONS": "60", "OMP_NUM_THREADS": "1"}
    return {**inherited, **tiny, **variables}


def run(recipe, *words, **variables):
    """Run prepare.sh; the finished process."""
    return subprocess.run(command(recipe, *words), capture_output=True, text=True, env=environment(**variables))


def succeed(recipe, *words, **variables):
    """Run prepare.sh to its good end; what it said."""
    done = run(recipe, *words, **variables)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refusal(recipe, *words, **variables):
    """Run prepare.sh, which has to fail without a traceback; its last sentence."""
    done = run(recipe, *words, **variables)
    assert done.returncode not in (0, -9), done.stdout
    assert "Traceback" not in done.stderr, done.stderr
    return done.stderr.strip().splitlines()[-1]


def read(path):
    """The lines of a file."""
    return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")


def binarised(path):
    """The number of sentences in one of fairseq's data sets, by the header of its index."""
    return struct.unpack("<Q", path.read_bytes()[18:26])[0]


def digests(out):
    """What a preparation is for: the checksums of all it wrote for training and scoring."""
    folders = ("bpe", "reference", "data-bin")
    files = (path for folder in folders for path in sorted((out / folder).iterdir()) if path.suffix != ".log")
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def times(out):
    """When each file that a preparation wrote was last changed; its lock file changes with every run."""
    return {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file() and path.name != ".lock"}


def unfinished(folder):
    """The files and folders under temporary names."""
    return [path for path in folder.rglob("*") if path.suffix in (".part", ".parts", ".new") or path.name == "unpacked"]
