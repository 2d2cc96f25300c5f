"""The command: the same code as a package and as the one file in a bundle, which needs neither torch nor fairseq."""

import contextlib
import os
import pty
import re
import subprocess
import sys

import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from sret_translate import Translator
from support.bundles import write_bundle
from support.models import REPOSITORY

TEXT = "word1 word2\n\nword3 word4 word5\n"
# Nothing of torch and fairseq can be imported.
ALONE = """
import runpy, sys
for name in ("torch", "fairseq", "sret_fairseq", "onnx"):
    sys.modules[name] = None
sys.argv = sys.argv[1:]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A bundle."""
    folder = tmp_path_factory.mktemp("command") / "bundle"
    write_bundle(folder, seed=3)
    return folder


def run(*args, text: bytes = TEXT.encode(), how=("package",), stderr=subprocess.PIPE) -> subprocess.CompletedProcess:
    """The command without torch and fairseq, as the package or as a file."""
    start = "runpy.run_module('sret_translate', run_name='__main__')"
    if how[0] != "package":
        start = "runpy.run_path(sys.argv[0], run_name='__main__')"
    command = [sys.executable, "-c", ALONE + start, *map(str, (how[0], *args))]
    return subprocess.run(command, input=text, stdout=subprocess.PIPE, stderr=stderr, cwd=REPOSITORY)


def output(*args, **options) -> str:
    """What it prints where it has to succeed."""
    result = run("--max-len-b", 12, *args, **options)
    assert result.returncode == 0, result.stderr.decode()
    return result.stdout.decode()


def refusal(*args, **options) -> str:
    """The sentence with which it has to fail."""
    result = run(*args, **options)
    assert result.returncode == 1
    sentence = result.stderr.decode()
    assert sentence.startswith("sret-translate: ") and sentence.count("\n") == 1
    return sentence


def test_a_line_each_as_package_and_as_file(folder):
    translated = output(folder)
    expected = Translator(str(folder)).translate(TEXT.splitlines(), max_len_b=12)
    assert translated.split("\n") == [*expected, ""]
    assert expected[1] == "" and expected[0]
    assert output(folder, how=(folder / "translate.py",)) == translated


def test_a_file_instead_of_standard_input(folder, tmp_path):
    (tmp_path / "text").write_text(TEXT)
    assert output(folder, tmp_path / "text", text=b"") == output(folder)
    assert output(folder, "--beam", 3, tmp_path / "text", text=b"") == output(folder, "--beam", 3), "in any order"
    assert "cannot be read" in refusal(folder, tmp_path / "nothing")


def test_scores_and_several_hypotheses(folder):
    scored = [line.split("\t") for line in output(folder, "--scores").splitlines()]
    assert [text for _, text in scored] == output(folder).splitlines()
    several = [line.split("\t") for line in output(folder, "--nbest", 3, "--scores").splitlines()]
    assert [number for number, _, _ in several] == ["1", "1", "1", "2", "3", "3", "3"]
    assert several[0][1:] == scored[0]


def test_progress_is_shown_on_a_terminal_alone(folder):
    ours, theirs = pty.openpty()
    try:
        result = run(folder, "--max-len-b", 12, "--batch-size", 1, text=40 * b"word1\n", stderr=theirs)
        shown = os.read(ours, 1 << 16).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert result.returncode == 0
    assert re.fullmatch(r"\r32 lines, \d+ a second \r40 lines, \d+ a second \r\n", shown)
    assert run(folder, "--max-len-b", 12).stderr == b""


def test_a_line_that_is_not_utf_8_is_named_and_what_was_before_is_translated(folder):
    result = run(folder, "--max-len-b", 12, text=b"word1\nword2 \xff\nword3\n")
    assert result.returncode == 1
    assert "standard input, line 2: byte 7 is not UTF-8" in result.stderr.decode()
    assert len(result.stdout.decode().splitlines()) == 1


@pytest.mark.parametrize(
    "args, part",
    [
        (["--nbest", 9], "--nbest 9 must be from 1 to --beam, 5"),
        (["--batch-size", 0], "--batch-size 0 must be 1 or more"),
        (["--threads", 0], "--threads 0 must be 1 or more"),
        (["--threads", 99999999999], "--threads 99999999999 must be at most 1024"),
        (["--data", "data-bin"], "--data is of a checkpoint"),
        (["--nbest", 0], "--nbest 0 must be from 1 to --beam, 5"),
        (["--beam", 0], "--beam 0 must be 1 or more"),
        (["--passes", 0], "holds 2 passes, not 0"),
        (["--passes", 7], "holds 2 passes, not 7"),
    ],
)
def test_options_that_cannot_be_used(folder, args, part):
    assert part in refusal(folder, *args)


def test_no_such_model(folder, tmp_path):
    assert "does not exist" in refusal(tmp_path / "nowhere")
    assert "give the data folder too" in refusal(folder / "config.json")
    assert "needs fairseq, torch and onnx" in refusal(folder / "config.json", "--data", tmp_path)


@pytest.mark.parametrize("end, status", [("close", 141), ("terminate", 143)])
def test_a_temporary_bundle_goes(tmp_path, end, status):
    """When the reader of the translations has enough, and by a signal; quietly."""
    model = REPOSITORY / "examples/pretrained/tatoeba_de_en"
    options = ["--data", model, "--sentencepiece", model / "sentencepiece.model", "--batch-size", 1]
    command = [sys.executable, "-m", "sret_translate", model / "model.pt", *options]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen([*map(str, command)], cwd=REPOSITORY, env=environment, **pipes) as process:
        process.stdin.write(b"Ja.\n" * 40)  # more than are read before the first is translated
        process.stdin.flush()
        assert process.stdout.readline()
        assert any(tmp_path.glob("tmp*/bundle"))
        process.stdout.close() if end == "close" else process.terminate()
        process.stdin.write(b"Ja.\n" * 40)
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        assert process.wait(60) == status
        assert process.stderr.read() == b""
    assert not any(tmp_path.glob("tmp*"))
