"""scripts/common/lines.py keeps lines in order in any number of processes; prepare/tokenise.py, with Moses too."""

import os
import shutil
import signal
import subprocess
import sys

import pytest

from common import lines
from prepare import tokenise
from support.models import REPOSITORY

SCRIPTS = REPOSITORY / "scripts"


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    """A short file has several."""
    monkeypatch.setattr(lines, "BATCH", 7)


@pytest.mark.parametrize("workers", [1, 2, 5, 40])
def test_lines_are_mapped_in_order(monkeypatch, tmp_path, workers):
    """Lines of very different lengths, empty ones and a last one without line feed; a line feed alone ends a line."""
    monkeypatch.setenv("WORKERS", str(workers))
    texts = [f"{number} \u00fc\u2028\x85\r " * (number % 9) for number in range(200)] + ["end"]
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes("\n".join(texts).encode())
    lines.map_lines(lambda batch: [f"<{line}>" for line in batch], source, target)
    assert target.read_bytes().decode() == "".join(f"<{text}>\n" for text in texts)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source", "target"]


def test_a_failure_in_one_process_leaves_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("WORKERS", "3")

    def drop_some(batch):
        return [line for line in batch if line != "b"]

    (tmp_path / "source").write_text("a\n" * 299 + "b\n")
    with pytest.raises(SystemExit, match=r"source: [67] lines became \d, so .*target was not written"):
        lines.map_lines(drop_some, tmp_path / "source", tmp_path / "target")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_killed_process_is_noticed(monkeypatch, tmp_path):
    monkeypatch.setenv("WORKERS", "2")
    (tmp_path / "source").write_text("a\n" * 300)

    def kill(batch):
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(SystemExit, match="source: a process that worked on it was killed"):
        lines.map_lines(kill, tmp_path / "source", tmp_path / "target")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ("Sie sagt: \u201eJa.\u201c", ["--normalise"], "Sie sagt : &quot; Ja &quot; ."),
        ("Der Haus-Hund\u2019s [1]", ["--apostrophes"], "Der Haus-Hund &apos; s &#91; 1 &#93;"),
        ("Der Haus-Hund\x07 kam.", ["--aggressive", "--lower"], "der haus @-@ hund kam ."),
        ("Am 3. Mai kam Dr. Meier in die U.S.A.", [], "Am 3. Mai kam Dr. Meier in die U.S.A ."),
        ("Siehe Art. 36.", [], "Siehe Art. 36 ."),
        ("Und so weiter...", [], "Und so weiter ..."),
        (" der hund &apos;s  @-@ ", ["--tokenised"], "der hund &apos;s @-@"),
    ],
)
def test_tokenised_by_hand(monkeypatch, tmp_path, text, options, expected):
    (tmp_path / "source").write_text(f"{text}\n")
    words = [tmp_path / "source", tmp_path / "target", "--language", "de", *options]
    monkeypatch.setattr(sys, "argv", ["tokenise.py", *map(str, words)])
    tokenise.main()
    assert (tmp_path / "target").read_text() == f"{expected}\n"


@pytest.mark.skipif(not shutil.which("perl"), reason="Moses' scripts need Perl")
def test_moses_is_used_where_it_is_named(tmp_path):
    folder = tmp_path / "moses" / "scripts" / "tokenizer"
    folder.mkdir(parents=True)
    (folder / "tokenizer.perl").write_text('my $options = join "", @ARGV; while (<STDIN>) { print "$options $_"; }')
    (tmp_path / "source").write_text("Ein  Satz.\n\nNoch einer.\n")
    words = [tmp_path / "source", tmp_path / "target", "--language", "de", "--aggressive", "--lower"]
    command = [sys.executable, SCRIPTS / "prepare/tokenise.py", *words]
    done = subprocess.run(command, env={**os.environ, "MOSES": str(tmp_path / "moses")}, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "target").read_text() == "-q-lde-a ein satz.\n-q-lde-a\n-q-lde-a noch einer.\n"
    done = subprocess.run(command, env={**os.environ, "MOSES": "/nowhere"}, capture_output=True, text=True)
    assert done.returncode and len(done.stderr.splitlines()) == 1 and "/nowhere/scripts" in done.stderr
