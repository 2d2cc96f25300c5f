"""scripts/sweep.py with a recipe's own scripts, on data that were prepared from an archive."""

import pytest

from support.corpora import TINY, read_json, run

SWEEP = "scripts/sweep.py"


@pytest.mark.slow
def test_real_scripts(iwslt14, tmp_path):
    """With the recipe's own scripts, a sweep of one model leaves a table; a second one has nothing to train."""
    words = ("--recipe", "iwslt14_de_en", "--models", "sret-naive", "--data", iwslt14, "--", "--cpu", "--max-update", 1)
    words += ("--max-tokens", 300, "--update-freq", 1)
    run(SWEEP, *words, *TINY, RUNS=tmp_path / "runs")
    results = read_json(tmp_path / "runs" / "sweep" / "results.json")
    chrf = results["models"]["sret-naive"]["test chrF"]
    assert chrf["n"] == 1 and chrf["deviation"] is None and chrf["how"].startswith("nrefs:1|")
    assert "valid tokenised BLEU" in results["models"]["sret-naive"]
    seconds, parameters = (
        results["models"]["sret-naive"][name]["values"] for name in ("training seconds", "parameters")
    )
    assert 0 < seconds[0] < 600 and parameters[0] > 0 and results["models"]["sret-naive"]["updates"]["values"] == [1]

    run(SWEEP, *words, *TINY, RUNS=tmp_path / "runs")
    log = (tmp_path / "runs" / "sweep" / "sret-naive-seed1.train.log").read_text()
    assert "sret-naive: finished after 1 update, see" in log
    log = (tmp_path / "runs" / "sweep" / "sret-naive-seed1.evaluate.log").read_text()
    assert log.count(": made before, skipped") == 3


@pytest.mark.slow
def test_two_at_once_until_time_is_up(iwslt14, tmp_path):
    """Trainings that would go on for days end by themselves, are averaged, scored and gathered."""
    words = ("--recipe", "iwslt14_de_en", "--models", "sret-naive,baseline", "--data", iwslt14, "--gpus", "cpu,cpu")
    words += ("--minutes", 4.5, "--scoring-minutes", 3.5, "--", "--max-tokens", 300, "--update-freq", 1)
    run(SWEEP, *words, *TINY, RUNS=tmp_path / "runs")
    results = read_json(tmp_path / "runs" / "sweep" / "results.json")
    assert results["minutes"] == 4.5 and results["failed"] == {}
    for model in ("sret-naive", "baseline"):
        assert results["models"][model]["updates"]["values"][0] > 0
        assert results["models"][model]["test chrF"]["n"] == 1
        assert read_json(tmp_path / "runs" / f"{model}-seed1" / "run.json")["starts"][0]["status"] == "interrupted"
