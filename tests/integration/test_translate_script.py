"""examples/translate.sh, the first command that a newcomer tries."""

import os
import subprocess
import sys

import pytest

from support.models import REPOSITORY

SENTENCES = ["Wo ist der Bahnhof?", "Mein Vater arbeitet in einem Krankenhaus."]


def run(*args, text: str = "") -> subprocess.CompletedProcess:
    """The script, in the environment of the tests, from another folder."""
    command = ["bash", str(REPOSITORY / "examples" / "translate.sh"), *args]
    environment = {**os.environ, "VENV": sys.prefix}
    return subprocess.run(command, input=text, capture_output=True, text=True, cwd="/", env=environment)


@pytest.mark.slow
def test_sentences_and_standard_input_are_translated_alike():
    """Each on a line of its own, and nothing else is said."""
    first, second = run(*SENTENCES), run(text="\n".join(SENTENCES) + "\n")
    assert first.returncode == 0 and first.stderr == "", first.stderr
    assert first.stdout.splitlines()[1] == "My father works in a hospital."
    assert (second.stdout, second.stderr) == (first.stdout, "")


def test_help_and_unknown_options():
    helped, refused = run("--help"), run("--to-klingon")
    assert helped.returncode == 0 and helped.stdout.startswith("Usage: bash examples/translate.sh")
    assert refused.returncode == 1 and refused.stderr.count("\n") == 1 and "--to-klingon" in refused.stderr


@pytest.mark.slow
def test_a_sentence_that_begins_with_a_dash():
    """Behind -- everything is a sentence, --help too."""
    refused, translated = run("- Ja."), run(SENTENCES[1], "--", "- Ja.", "--help")
    assert refused.returncode == 1 and "put -- before sentences" in refused.stderr
    assert translated.returncode == 0 and translated.stderr == "", translated.stderr
    first, *others = translated.stdout.splitlines()
    assert first == "My father works in a hospital." and len(others) == 2
