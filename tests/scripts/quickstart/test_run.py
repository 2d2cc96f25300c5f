"""examples/quickstart.sh: refusals, and a whole run on text of one's own."""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from quickstart import run
from support.models import REPOSITORY


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["--updates", "0"], "'0' is not a whole number of at least 1"),
        (["--target-text", "x"], "give both or neither"),
        (["--target-lang", "de"], "--source-lang and --target-lang are both de"),
        (["--up", "3"], "unrecognized arguments: --up"),
    ],
)
def test_refusals(arguments, sentence, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["run.py", *arguments])
    with pytest.raises(SystemExit) as ended:
        run.parse_args()
    assert ended.value.code == 2 and sentence in capsys.readouterr().err


def test_data_of_another_text_are_made_anew(tmp_path):
    """As after an update of the project, or a run that was killed: fairseq would refuse the old dictionary."""
    pieces, out = tmp_path / "pieces", tmp_path / "data-bin"
    pieces.mkdir()
    for word in ("old", "new"):
        for split in ("train", "valid", "test"):
            for language in ("en", "de"):
                (pieces / f"{split}.{language}").write_text(f"{word}\n")
        run.binarise(argparse.Namespace(source_lang="en", target_lang="de"), pieces, out)
        assert (out / "dict.en.txt").read_text().startswith(word)


def quickstart(*arguments: object) -> str:
    """Run the script; what it said."""
    command = ["bash", REPOSITORY / "examples" / "quickstart.sh", *map(str, arguments)]
    done = subprocess.run(
        command, env={**os.environ, "VENV": sys.prefix}, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def write_text(folder: Path) -> list[object]:
    """Write sentence pairs; the arguments that name them."""
    number = [("eins", "one"), ("zwei", "two"), ("drei", "three"), ("vier", "four"), ("fünf", "five")]
    thing = [("Haus", "house"), ("Buch", "book"), ("Licht", "light"), ("Tor", "gate"), ("Brot", "bread")]
    pairs = [(f"{a} und {b} im {c}", f"{x} and {y} in the {z}") for a, x in number for b, y in number for c, z in thing]
    for language, side in zip(("de", "en"), zip(*pairs)):
        (folder / f"own.{language}").write_text("".join(f"{line}\n" for line in side), encoding="utf-8")
    return ["--source-text", folder / "own.de", "--target-text", folder / "own.en", "--vocabulary", 60]


@pytest.mark.slow
def test_own_text(tmp_path):
    """Samples of the first system and a command that works come before the second system; a second run does nothing."""
    arguments = [*write_text(tmp_path), "--updates", 2, "--out", tmp_path / "out"]
    said = quickstart(*arguments)
    order = ["== train sret_transformer", "A sentence of your own", "== train transformer", "| sret_transformer |"]
    assert sorted(order, key=said.index) == order
    assert said.index("sret_transformer  ") < said.index("A sentence of your own")

    (command,) = (line for line in said.splitlines() if line.startswith("echo "))
    translated = subprocess.run(["bash", "-c", command], cwd="/", capture_output=True, text=True, check=True)
    assert len(translated.stdout.splitlines()) == 1

    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert list(results["systems"]) == ["sret_transformer", "transformer"]
    assert results["corpus"]["files"]["test.de"]["lines"] == 12 and len(results["samples"]) == 5
    assert (tmp_path / "out" / "learning_curves.png").stat().st_size

    assert quickstart(*arguments).count("made before, skipped") == 9
