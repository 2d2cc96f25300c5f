"""examples/iwslt14_de_en/prepare.sh on an archive in the shape of the real one: the split, the cleaning, the faults."""

import contextlib
import gzip
import http.server
import json
import os
import shutil
import signal
import subprocess
import threading
from functools import partial

import pytest

from support import archives, prepare

RECIPE = "iwslt14_de_en"
KEPT = archives.IWSLT14_SENTENCES + 2 * archives.IWSLT14_TALKS
LINES = {"train": KEPT - KEPT // 23, "valid": KEPT // 23, "test": 25}

pytestmark = pytest.mark.slow


@contextlib.contextmanager
def served(folder):
    """A web server of a folder's files; its address."""
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    handler.log_message = lambda *_: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def tokenised(text):
    """What the recipe makes of one of the archive's sentences."""
    return text.replace(",", " ,").replace(":", " :").replace(".", " .").strip().lower()


def published_order(language):
    """The archive's training sentences in order, tokenised and lower-cased, without those that the ratio rules out."""
    tags = ("<url>", "<keywords>", "<speaker>", "<talkid>", "<reviewer>", "<translator")
    kept = [line for line in archives.train_tags(language)[:-2] if not line.startswith(tags)]
    for tag in ("<title>", "</title>", "<description>", "</description>"):
        kept = [line.replace(tag, "") for line in kept]
    return [tokenised(line) for line in kept]


@pytest.mark.parametrize("language", ["de", "en"])
def test_every_23rd_pair_is_for_validation(iwslt14, language):
    texts = published_order(language)
    assert len(texts) == KEPT
    assert prepare.read(iwslt14 / "tokenised" / f"valid.{language}") == texts[22::23]
    assert prepare.read(iwslt14 / "tokenised" / f"train.{language}") == [
        text for number, text in enumerate(texts, 1) if number % 23
    ]


@pytest.mark.parametrize("language", ["de", "en"])
def test_references_are_plain_and_lower_cased(iwslt14, language):
    test = prepare.read(iwslt14 / "reference" / f"test.{language}")
    expected = [
        archives.sentence(language, name.replace(".", ""), number, 1).replace(",", "'s,").lower()
        for name, count in archives.IWSLT14_TESTS.items()
        for number in range(count)
    ]
    assert test == expected
    valid = prepare.read(iwslt14 / "reference" / f"valid.{language}")
    assert [tokenised(line) for line in valid] == prepare.read(iwslt14 / "tokenised" / f"valid.{language}")


def test_data_and_description(iwslt14):
    for split, number in LINES.items():
        for language in ("de", "en"):
            assert prepare.binarised(iwslt14 / "data-bin" / f"{split}.de-en.{language}.idx") == number
            pieces = prepare.read(iwslt14 / "bpe" / f"{split}.{language}")
            words = prepare.read(iwslt14 / "tokenised" / f"{split}.{language}")
            assert [line.replace("@@ ", "") for line in pieces] == words and pieces != words
    assert (iwslt14 / "data-bin" / "dict.de.txt").read_text() == (iwslt14 / "data-bin" / "dict.en.txt").read_text()
    assert 1 < len(prepare.read(iwslt14 / "bpe" / "codes")) <= 61
    description = json.loads((iwslt14 / "prepare.json").read_text())
    assert description["lines"] == LINES and description["published_split"] is False
    assert (description["source"], description["references"], description["bpe_operations"]) == (
        "archive",
        "original",
        60,
    )
    assert not prepare.unfinished(iwslt14)


def test_killed_in_the_middle_continued_and_mended(iwslt14_archive, iwslt14, tmp_path):
    words = ("--archive", iwslt14_archive, "--out", tmp_path, "--any-size")
    process = subprocess.Popen(
        prepare.command(RECIPE, *words),
        env=prepare.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    for line in process.stdout:
        if line.startswith("== binarise"):
            break
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "data-bin").exists() and (tmp_path / "bpe" / "codes").exists()
    assert not (tmp_path / "prepare.json").exists()
    done = prepare.run(RECIPE, *words)
    assert done.returncode == 0, done.stderr
    assert "== learn-bpe: done before, skipped" in done.stdout and "== binarise\n" in done.stdout
    assert prepare.digests(tmp_path) == prepare.digests(iwslt14)
    assert not prepare.unfinished(tmp_path)

    # A further run does nothing; what was tampered with is made again, and the description of the whole with it.
    before = prepare.times(tmp_path)
    assert headings(prepare.succeed(RECIPE, *words)) == []
    assert prepare.times(tmp_path) == before
    # Nor does a wrong sum, beyond its refusal.
    assert "not the one that was given" in prepare.refusal(RECIPE, *words, "--sha256", "0" * 64)
    assert headings(prepare.succeed(RECIPE, *words)) == [f"== verify-{iwslt14_archive.name}"]
    assert prepare.digests(tmp_path) == prepare.digests(iwslt14)
    (tmp_path / "reference" / "test.en").write_text("tampered\n")
    assert headings(prepare.succeed(RECIPE, *words)) == ["== reference-test.en", "== describe"]
    assert prepare.digests(tmp_path) == prepare.digests(iwslt14)


def headings(said):
    """The steps that were not skipped."""
    steps = [line for line in said.splitlines() if line.startswith("== ")]
    assert steps
    return [line for line in steps if not line.endswith(": done before, skipped")]


def test_two_runs_in_one_folder_do_not_meet(iwslt14_archive, tmp_path):
    with subprocess.Popen(["flock", tmp_path / ".lock", "sleep", "30"], start_new_session=True) as holder:
        try:
            while subprocess.run(["flock", "-n", tmp_path / ".lock", "true"]).returncode == 0:
                pass
            assert "another prepare.sh is at work" in prepare.refusal(
                RECIPE, "--archive", iwslt14_archive, "--out", tmp_path
            )
        finally:
            os.killpg(holder.pid, signal.SIGTERM)


def test_download_resumes_and_sizes_are_checked(iwslt14_archive, tmp_path):
    """From a server that cannot resume, with half the archive there; the toy is then refused as not the real data."""
    part = tmp_path / "download" / "de-en.tgz.part"
    part.parent.mkdir()
    part.write_bytes(iwslt14_archive.read_bytes()[:1000])
    with served(iwslt14_archive.parent) as address:
        sentence = prepare.refusal(RECIPE, "--out", tmp_path, MIRRORS=f"http://127.0.0.1:9/none {address}")
    assert f"{LINES['train']} lines instead of the published 160239" in sentence
    assert (tmp_path / "download" / "de-en.tgz").read_bytes() == iwslt14_archive.read_bytes() and not part.exists()
    assert not (tmp_path / "bpe").exists()


def test_download_continues_a_part(iwslt14_archive, tmp_path):
    """The part's first byte was changed, which shows in what comes out when the rest is put behind it."""
    part = tmp_path / "download" / "de-en.tgz.part"
    part.parent.mkdir()
    data = iwslt14_archive.read_bytes()
    # The ninth byte of a gzip file says how it was compressed; nothing depends on it.
    part.write_bytes(data[:8] + b"\x07" + data[9:1000])
    words = ("--out", tmp_path, "--mirror", iwslt14_archive.parent.as_uri(), "--sha256", "0" * 64)
    assert "which is not the one that was given" in prepare.refusal(RECIPE, *words)
    assert (tmp_path / "download" / "de-en.tgz").read_bytes() == data[:8] + b"\x07" + data[9:]


def test_server_down(tmp_path):
    sentence = prepare.refusal(RECIPE, "--out", tmp_path, "--mirror", "http://127.0.0.1:9")
    assert "de-en.tgz could not be downloaded: curl ended with status 7" in sentence
    assert not list((tmp_path / "download").iterdir())


def test_what_is_no_archive_is_not_kept(tmp_path):
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "de-en.tgz").write_text("<html>Please confirm</html>\n")
    sentence = prepare.refusal(RECIPE, "--out", tmp_path, "--mirror", (tmp_path / "web").as_uri())
    assert "is no whole gzip file" in sentence
    assert not list((tmp_path / "download").iterdir())


def test_missing_curl(tmp_path):
    tools = tmp_path / "tools"
    tools.mkdir()
    for folder in os.environ["PATH"].split(os.pathsep):
        for tool in ("bash", "cat", "cksum", "dirname", "flock", "mkdir", "nproc", "realpath", "sed"):
            if not (tools / tool).exists() and os.path.exists(os.path.join(folder, tool)):
                (tools / tool).symlink_to(os.path.join(folder, tool))
    sentence = prepare.refusal(RECIPE, "--out", tmp_path / "out", PATH=str(tools))
    assert sentence.startswith("prepare: curl is not installed") and "--archive" in sentence


def test_truncated_archive(iwslt14_archive, tmp_path):
    short = tmp_path / "de-en.tgz"
    short.write_bytes(iwslt14_archive.read_bytes()[:-200])
    sentence = prepare.refusal(RECIPE, "--archive", short, "--out", tmp_path / "out")
    assert "de-en.tgz is truncated or damaged" in sentence
    assert not (tmp_path / "out" / "plain").exists()


def test_archive_without_a_test_set(tmp_path):
    other = archives.pack(tmp_path / "de-en.tgz", {f"train.tags.de-en.{la}": ["a b"] for la in ("de", "en")})
    sentence = prepare.refusal(RECIPE, "--archive", other, "--out", tmp_path / "out")
    assert "there is no IWSLT14.TED.dev2010.de-en.de.xml in the archive" in sentence
    assert not prepare.unfinished(tmp_path / "out")


@contextlib.contextmanager
def small_disk(folder, size):
    """A file system of so many bytes in a folder; where mounting is not permitted, words that limit files' sizes."""
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True)
    try:
        yield [] if mounted.returncode == 0 else ["bash", "-c", f'ulimit -f {max(1, size // 65536)}; exec "$@"', "bash"]
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("size", [8192, 69632, 151552, 299008])
def test_no_space(iwslt14_archive, tmp_path, size):
    with small_disk(tmp_path / "out", size) as limit:
        command = [
            *limit,
            *prepare.command(RECIPE, "--archive", iwslt14_archive, "--out", tmp_path / "out", "--any-size"),
        ]
        done = subprocess.run(command, capture_output=True, text=True, env=prepare.environment())
        assert done.returncode and "Traceback" not in done.stderr, done.stderr
        assert any(words in done.stderr for words in ("No space left on device", "File too large"))
        assert not (tmp_path / "out" / "data-bin").exists() and not (tmp_path / "out" / "prepare.json").exists()
        assert not prepare.unfinished(tmp_path / "out")


@pytest.fixture
def raw(iwslt14, tmp_path):
    """A folder with the prepared text, tokenised and lower-cased, one file of it gzipped."""
    folder = tmp_path / "raw"
    folder.mkdir()
    for path in (iwslt14 / "tokenised").iterdir():
        if not path.name.startswith("pairs"):
            shutil.copy(path, folder)
    (folder / "train.de.gz").write_bytes(gzip.compress((folder / "train.de").read_bytes()))
    (folder / "train.de").unlink()
    return folder


def test_tokenised_text_is_recognised_and_left_alone(iwslt14, raw, tmp_path):
    done = prepare.run(RECIPE, "--raw", raw, DATA=str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert "100% of them standing apart" in done.stdout
    ours, theirs = prepare.digests(tmp_path / "out"), prepare.digests(iwslt14)
    assert {name: ours[name] for name in ours if not name.startswith("reference")} == {
        name: theirs[name] for name in theirs if not name.startswith("reference")
    }
    english = [(folder / "reference" / "test.en").read_text() for folder in (tmp_path / "out", iwslt14)]
    assert english[0] == english[1]
    description = json.loads((tmp_path / "out" / "prepare.json").read_text())
    assert description["references"] == "detokenised" and description["tokeniser"].startswith("none")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda raw: (raw / "valid.en").unlink(), "has neither valid.en nor valid.en.gz"),
        (lambda raw: (raw / "test.de").write_text("nur eine zeile .\n"), "ends before line 2"),
        (lambda raw: (raw / "test.de").write_bytes(b"gut .\n\xff .\n"), "test.de, line 2 is not UTF-8"),
        (lambda raw: (raw / "train.en").write_text("no marks here\n" * LINES["train"]), "say --tokenised yes or no"),
        (lambda raw: (raw / "train.de.gz").write_bytes((raw / "train.de.gz").read_bytes()[:-20]), "is truncated"),
    ],
    ids=["missing", "unequal", "bad UTF-8", "in doubt", "truncated"],
)
def test_bad_text_is_refused(raw, tmp_path, spoil, words):
    spoil(raw)
    assert words in prepare.refusal(RECIPE, "--raw", raw, "--out", tmp_path / "out")
    assert not prepare.unfinished(tmp_path / "out") and not (tmp_path / "out" / "bpe").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--archive", "none.tgz"], "--archive: none.tgz does not exist"),
        (["--archive", "/tmp"], "--archive: /tmp is a folder; name the file: IWSLT14 De-En is one archive, de-en.tgz."),
        (["--raw", "none"], "--raw: none is not a folder"),
        (["--raw", ".", "--archive", "."], "either --raw or --archive"),
        (["--tokenised", "yes"], "belongs to --raw"),
        (["--out"], "--out needs a value"),
        (["--fast"], "unknown argument '--fast'"),
    ],
)
def test_bad_options_are_refused(words, sentence):
    assert sentence in prepare.refusal(RECIPE, *words)


def test_help():
    done = prepare.run(RECIPE, "--help")
    assert done.returncode == 0 and "--any-size" in done.stdout and not done.stderr
