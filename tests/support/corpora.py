"""A toy corpus in the shape that the recipes' prepare.sh leaves, and a call of their scripts."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from fairseq import options
from fairseq_cli import preprocess

from support.models import REPOSITORY

SCRIPTS = REPOSITORY / "scripts"
SIZES = {"train": 60, "valid": 7, "test": 9}
WORDS = "haus-tier baum garten wasser strasse fenster bruder schwester".split()

# A model of other sizes than the recipe's, for a few updates on a CPU.
TINY = (
    "-- --encoder-embed-dim 16 --decoder-embed-dim 16 --encoder-ffn-embed-dim 24 --decoder-ffn-embed-dim 28 "
    "--encoder-attention-heads 2 --decoder-attention-heads 4 --num-workers 0 --log-interval 1"
).split()


def sentence(number, language):
    """The words of a sentence, the same in both languages but for capital letters and their order."""
    words = [WORDS[(number * 5 + place * place) % len(WORDS)] for place in range(2 + number % 6)]
    return words if language == "de" else [f"{word[0]}x{word[1:]}" for word in reversed(words)]


def pieces(words):
    """A tokenised sentence in pieces of BPE: long words in two."""
    return " ".join(f"{word[:4]}@@ {word[4:]}" if len(word) > 5 else word for word in words) + " ."


def make_corpus(folder, pair=("de", "en")):
    """Write what prepare.sh leaves: bpe/, data-bin/, reference/ and prepare.json."""
    for name in ("bpe", "reference"):
        (folder / name).mkdir(parents=True)
    for split, count in SIZES.items():
        for language in pair:
            sentences = [sentence(number, language) for number in range(count)]
            (folder / "bpe" / f"{split}.{language}").write_text("".join(f"{pieces(words)}\n" for words in sentences))
            if split != "train":
                text = "".join(" ".join(words) + ".\n" for words in sentences)
                (folder / "reference" / f"{split}.{language}").write_text(text)
    prefixes = [word for split in SIZES for word in (f"--{split}pref", folder / "bpe" / split)]
    words = ["--joined-dictionary", "-s", pair[0], "-t", pair[1], "--destdir", folder / "data-bin", *prefixes]
    preprocess.main(options.get_preprocessing_parser().parse_args([str(word) for word in words]))
    (folder / "prepare.json").write_text(json.dumps({"lines": SIZES, "published_split": False}))
    return folder


def start(script, *words, **environment):
    """Start a script of the repository, in a process group of its own, as a user types it from another folder."""
    variables = {**os.environ, "VENV": sys.prefix, "OMP_NUM_THREADS": "1", **environment}
    for name in ("DATA", "RUNS", "NNODES", "NODE_RANK"):
        if name not in environment:
            variables.pop(name, None)
    return subprocess.Popen(
        [sys.executable if script.endswith(".py") else "bash", str(REPOSITORY / script), *map(str, words)],
        env={name: str(value) for name, value in variables.items()},
        cwd="/",
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def run(script, *words, status=0, **environment):
    """The same, to its end, which has to have this status; what it said."""
    process = start(script, *words, **environment)
    try:
        said, _ = process.communicate(timeout=300)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == status, said
    assert "Traceback" not in said, said
    return said


def read_json(path):
    """The contents of a JSON file."""
    return json.loads(Path(path).read_text())
