"""scripts/recipe/seeds.py gathers means and deviations over seeds, of what compares."""

import json
import re

import pytest

from recipe import seeds


@pytest.fixture
def gathered(tmp_path):
    """A function that gathers runs, given by what was scored and the updates of the training; it returns the table."""
    run_type = seeds.Run

    def call(*runs):
        done = []
        for seed, (system, updates) in enumerate(runs, 1):
            folder = tmp_path / str(seed)
            (folder / "evaluation").mkdir(parents=True, exist_ok=True)
            (folder / "evaluation" / "results.json").write_text(json.dumps({"systems": {"x": system}}))
            start = {"begun": "2026-01-01T00:00:00+00:00", "ended": None, "max_update": updates}
            start["batch"] = {"batch_tokens": 1000}
            (folder / "run.json").write_text(json.dumps({"starts": [start]}))
            (folder / "train.log").touch()
            done.append((run_type("sret", str(seed)), folder))
        seeds.gather(done, {}, tmp_path)
        return (tmp_path / "table.txt").read_text()

    return call


def test_scores_of_different_kinds_are_not_averaged(gathered):
    """Runs whose scores have different signatures end with one sentence."""
    runs = [({"scores": {"test": {"chrF": {"value": 1.0, "how": f"version:2.{n}"}}}}, 3) for n in (5, 6)]
    with pytest.raises(SystemExit, match=r"chrF of sret seed 2 is 'version:2\.6', that of others 'version:2\.5'"):
        gathered(*runs)


def test_runs_of_different_trainings_are_not_put_side_by_side(gathered):
    """A finished run of another budget or batch is no answer to what is asked now."""
    runs = [({"scores": {}}, updates) for updates in (3, 1)]
    sentence = "sret seed 1: 3 updates of 1,000 tokens; sret seed 2: 1 update of 1,000 tokens."
    with pytest.raises(SystemExit, match=re.escape(sentence)):
        gathered(*runs)
    gathered(*runs[:1])


def test_different_numbers_of_averaged_checkpoints(gathered):
    """The table says so when the scores of one run are those of an average of fewer checkpoints."""
    runs = [({"scores": {}, "averaged": ["file"] * count}, 3) for count in (2, 2, 1)]
    sentence = "CAUTION, different numbers of checkpoints were averaged, which hardly compare: "
    assert f"{sentence}2 of sret seed 1, sret seed 2; 1 of sret seed 3\n" in gathered(*runs)
    assert "checkpoints averaged: 2\n" in gathered(*runs[:2])


@pytest.mark.parametrize(
    "systems",
    [
        {},
        {"x": {"scores": {}}, "y": {"scores": {}}},
        {"x": 5},
        {"x": {}},
        {"x": {"scores": [1]}},
        {"x": {"scores": {"test": 1}}},
        {"x": {"scores": {"test": {"BLEU": {"value": 1.0}}}}},
        {"x": {"scores": {}, "averaged": 5}},
    ],
)
def test_results_of_another_shape(tmp_path, systems):
    """A sentence that names the file and the key, not a traceback."""
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "train.log").touch()
    (tmp_path / "evaluation" / "results.json").write_text(json.dumps({"systems": systems}))
    with pytest.raises(SystemExit, match=r"results\.json: 'systems' does not hold one run with its 'scores'; evaluate"):
        seeds.read(tmp_path)


def test_no_run_succeeded(tmp_path):
    """Then the table names the failures and has no line that nothing stands behind."""
    seeds.gather([], {"sret seed 1": "train.sh"}, tmp_path)
    assert (tmp_path / "table.txt").read_text() == "FAILED, not in the table: sret seed 1 (train.sh)\n"
