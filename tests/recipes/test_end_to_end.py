"""The recipes from an archive in the shape of the real one to a table of scores, by the very scripts of a user."""

import pytest

from support import archives as recipes_archives
from support.corpora import TINY, read_json, run
from support.prepare import run as prepare


def archive(recipe, folder):
    """A small archive and the words with which prepare.sh takes it."""
    if recipe == "iwslt14_de_en":
        path = folder / "de-en.tgz"
        recipes_archives.iwslt14(path)
        return ["--archive", path]
    path = folder / "wmt16_en_de.tar.gz"
    recipes_archives.google(path)
    return ["--google", "--archive", path]


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["iwslt14_de_en", "wmt14_en_de"])
def test_from_the_archive_to_the_scores(recipe, tmp_path):
    """What one script leaves is what the next one reads: data, dictionaries, references, checkpoints, scores."""
    data = tmp_path / "data"
    done = prepare(recipe, *archive(recipe, tmp_path), "--any-size", "--out", data)
    assert done.returncode == 0, done.stderr
    run(
        *(f"examples/{recipe}/train.sh", "sret", "--cpu", "--data", data, "--max-tokens", 300, "--update-freq", 1),
        *("--max-update", 2, *TINY),
        RUNS=tmp_path / "runs",
    )
    words = ("--data", data, "--", "--beam", 2, "--max-len-a", 0, "--max-len-b", 6)
    said = run(f"examples/{recipe}/evaluate.sh", "sret", *words, RUNS=tmp_path / "runs")
    assert "test sacreBLEU" in said and "test tokenised BLEU" in said
    lines = read_json(data / "prepare.json")["lines"]
    for split in ("valid", "test"):
        assert f"{split}: {lines[split]} sentences" in said
