"""examples/wmt14_en_de/prepare.sh on archives in the shape of the real ones, and on one in the shape of Google's."""

import itertools
import json
import os
import shutil

import pytest

from support import archives, prepare

RECIPE = "wmt14_en_de"
LINES = {"train": 119, "valid": 7, "test": 9}

pytestmark = pytest.mark.slow


def words_of(out, name):
    """A text in BPE put together again."""
    return [line.replace("@@ ", "") for line in prepare.read(out / "bpe" / name)]


@pytest.mark.parametrize("language", ["de", "en"])
def test_corpora_in_order_without_unfit_pairs(wmt14, language):
    corpora = (("parl", 50), ("crawl", 40), ("news", 29))
    sources = [text for name, count in corpora for text in archives.sentences(language, name, count)]
    words = [text.replace(",", " ,").replace(".", " .") for text in sources]
    words[7] = f"Europa @-@ Haus &quot; ja &quot; mit allem {words[7]}"
    assert words_of(wmt14, f"train.{language}") == words


@pytest.mark.parametrize("language", ["de", "en"])
def test_references_are_the_originals(wmt14, language):
    assert prepare.read(wmt14 / "reference" / f"test.{language}") == archives.wmt14_test(language)
    assert prepare.read(wmt14 / "reference" / f"valid.{language}") == archives.sentences(language, "dev", 7)


def test_test_text_keeps_its_quotation_marks(wmt14):
    """As in the published recipe, which normalises the punctuation of training text alone."""
    first = words_of(wmt14, "test.en")[0]
    assert first.startswith("\u201e ") and first.endswith("Wie &apos;s war @-@ es ?")


def test_data_and_description(wmt14):
    for split, number in LINES.items():
        for language in ("de", "en"):
            assert prepare.binarised(wmt14 / "data-bin" / f"{split}.en-de.{language}.idx") == number
    description = json.loads((wmt14 / "prepare.json").read_text())
    assert sorted(path.name for path in (wmt14 / "download").iterdir()) == ["dev.tgz", "test-full.tgz"]
    assert description["lines"] == LINES and description["lower_case"] is False
    steps = description["steps"]
    assert {"tokenise-pairs.en", "learn-bpe", "apply-bpe-train"} <= steps.keys()
    assert steps["learn-bpe"]["processor_seconds"] > 0 and steps["learn-bpe"]["peak_memory_mib"] > 0
    assert len(description["sha256"]) == 5 and description["references"] == "original"
    assert not prepare.unfinished(wmt14)


def test_the_real_size_is_insisted_on(wmt14_archives, tmp_path):
    sentence = prepare.refusal(RECIPE, "--archive", wmt14_archives, "--out", tmp_path)
    assert "pairs.en has 120 lines instead of the published 4520620" in sentence


def test_a_disk_without_room_is_noticed_before_the_work(tmp_path):
    (tmp_path / "df").write_text("#!/bin/sh\necho Filesystem 1024-blocks Used Available\necho disk 100 98 2000\n")
    (tmp_path / "df").chmod(0o755)
    for name in itertools.product(("train", "valid", "test"), ("en", "de")):
        (tmp_path / ".".join(name)).write_text("a b c .\n" * 50_000)
    words = ("--raw", tmp_path, "--out", tmp_path / "out")
    sentence = prepare.refusal(RECIPE, *words, PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert sentence.endswith("has 2 MB free and 12 are needed; make room, or name another folder (--out).")
    assert not (tmp_path / "out" / "plain").exists()


def test_tokenised_raw_text(wmt14, tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    for split in ("train", "valid", "test"):
        for language in ("de", "en"):
            text = "".join(f"{line}\n" for line in words_of(wmt14, f"{split}.{language}"))
            (raw / f"{split}.{language}").write_text(text)
    done = prepare.run(RECIPE, "--raw", raw, "--out", tmp_path / "out", "--tokenised", "yes")
    assert done.returncode == 0, done.stderr
    assert [words_of(tmp_path / "out", "test.de")] == [words_of(wmt14, "test.de")]
    assert prepare.read(tmp_path / "out" / "reference" / "test.en")[0].endswith("Wie's war-es?")


@pytest.fixture(scope="module")
def google(tmp_path_factory):
    """Google's archive and the output folder of a run on it."""
    folder = tmp_path_factory.mktemp("google")
    archive = archives.google(folder / "wmt16_en_de.tar.gz")
    done = prepare.run(RECIPE, "--google", "--archive", archive, "--out", folder / "out", "--any-size")
    assert done.returncode == 0, done.stderr
    return archive, folder / "out"


def test_google_text_is_only_binarised_and_detokenised(google):
    _, out = google
    assert set(prepare.read(out / "bpe" / "test.de")) == {"Der Hund ist gr@@ o@@ \u00df &quot; hier &quot; ."}
    assert prepare.read(out / "reference" / "test.de") == ['Der Hund ist gro\u00df "hier".'] * 5
    assert prepare.read(out / "reference" / "test.en") == ["The dog is big, isn't it?"] * 5
    assert prepare.read(out / "bpe" / "codes")[0] == "#version: 0.2"
    for split, number in {"train": 60, "valid": 7, "test": 5}.items():
        assert prepare.binarised(out / "data-bin" / f"{split}.en-de.en.idx") == number
    description = json.loads((out / "prepare.json").read_text())
    assert description["published_lines"] == {"train": 4500966, "valid": 3000, "test": 3003}
    assert description["references"] == "detokenised" and description["bpe_operations"] == 32000


def test_google_a_second_run_skips_everything(google):
    archive, out = google
    before = prepare.times(out)
    done = prepare.run(RECIPE, "--archive", archive, "--google", "--out", out, "--any-size")
    assert done.returncode == 0, done.stderr
    assert prepare.times(out) == before


def test_a_foreign_archive_is_refused(google, tmp_path):
    archive, _ = google
    assert "wmt16_en_de.tar.gz is none of" in prepare.refusal(RECIPE, "--archive", archive, "--out", tmp_path)


def test_wrong_checksum(google, tmp_path):
    words = ("--google", "--archive", google[0], "--sha256", "1" * 64, "--out", tmp_path)
    assert "which is not the one that was given" in prepare.refusal(RECIPE, *words)
    assert [path.name for path in tmp_path.iterdir() if path.name not in (".lock", "steps")] == []


def test_google_drive_gives_a_page_instead(tmp_path):
    web = tmp_path / "web"
    web.mkdir()
    (web / "wmt16_en_de.tar.gz").write_text("<html>Can't scan this file for viruses</html>\n")
    sentence = prepare.refusal(RECIPE, "--google", "--out", tmp_path / "out", MIRRORS=web.as_uri())
    assert "is no whole gzip file" in sentence and "--archive" in sentence
    assert os.listdir(tmp_path / "out" / "download") == []


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "or no gzip file: get it again."),
        (
            lambda path: archives.pack(path, {"commoncrawl.de-en.en": ["one ."]}),
            "there is no commoncrawl.de-en.de in the archive.",
        ),
        (
            lambda path: archives.pack(path, {"commoncrawl.de-en.en": ["a"] * 2, "commoncrawl.de-en.de": ["a"] * 3}),
            "commoncrawl.de-en.en ends before line 3 but commoncrawl.de-en.de goes on: they are not aligned.",
        ),
    ],
    ids=["truncated", "without a side", "unequal sides"],
)
def test_bad_archives(wmt14_archives, tmp_path, spoil, words):
    shutil.copytree(wmt14_archives, tmp_path / "archives")
    spoil(tmp_path / "archives" / "training-parallel-commoncrawl.tgz")
    out = tmp_path / "out"
    assert prepare.refusal(RECIPE, "--archive", tmp_path / "archives", "--out", out).endswith(words)
    assert not list(out.rglob("*.tmp")) and not prepare.unfinished(out)
