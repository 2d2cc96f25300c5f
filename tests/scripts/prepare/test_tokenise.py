"""scripts/prepare/tokenise.py tokenises as Moses does, and with Moses where it is named."""

import os
import shutil
import subprocess
import sys

import pytest

from prepare import tokenise
from support.models import REPOSITORY

SCRIPTS = REPOSITORY / "scripts"


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
