"""The recipes' evaluate.sh, on data that were prepared from an archive: averages, scores, the table, and refusals."""

import pytest
import sacrebleu
from sacremoses import MosesDetokenizer

from recipe import evaluate
from support.commands import refusal
from support.corpora import TINY, read_json, run
from support.models import REPOSITORY

EVALUATE = "examples/wmt14_en_de/evaluate.sh"


def sacrebleu_cache(folder, lines):
    """A folder that sacreBLEU takes for its downloads, with these lines for wmt14/full."""
    cache = folder / "wmt14" / "full"
    cache.mkdir(parents=True)
    for field in ("src", "ref", "docid", "genre", "origlang"):
        (cache / f"wmt14_full.en-de.{field}").write_text("".join(f"{line}\n" for line in lines))
    return folder


@pytest.fixture(scope="module")
def trained(wmt14, tmp_path_factory):
    """A folder with two runs of three updates, each of which left a checkpoint."""
    folder = tmp_path_factory.mktemp("runs")
    for model in ("baseline", "sret"):
        words = (model, "--cpu", "--max-update", 3, "--data", wmt14, "--max-tokens", 300, "--update-freq", 1)
        run("examples/wmt14_en_de/train.sh", *words, *TINY, "--save-interval-updates", 1, "--lr", 0.1, RUNS=folder)
    return folder


def detokenised(log):
    """The translations in a log of fairseq-generate, in order, detokenised here."""
    lines = [line.split("\t") for line in log.read_text().splitlines() if line.startswith("H-")]
    ordered = [text for _, _, text in sorted(lines, key=lambda parts: int(parts[0][2:]))]
    return [MosesDetokenizer(lang="de").detokenize(text.split()) for text in ordered]


@pytest.mark.slow
def test_evaluate(trained, wmt14, tmp_path):
    """Two runs: averages, scores of both sets, the table, the comparison; a second call keeps the translations."""
    folder, corpus, lines_of = trained, wmt14, read_json(wmt14 / "prepare.json")["lines"]
    reference = (corpus / "reference" / "test.de").read_text().splitlines()
    ours = [f"{line} x" for line in reference]
    variables = {"RUNS": folder, "DATA": corpus, "SACREBLEU": sacrebleu_cache(tmp_path / "cache", ours)}
    words = ("baseline", folder / "sret", "--last", 2, "--against", "sret", "--out", tmp_path / "out")
    limit = ("--", "--max-len-b", 3)
    said = run(EVALUATE, *words, *limit, **variables)
    results = read_json(tmp_path / "out" / "results.json")

    assert results["generate"][:4] == ["--beam", "4", "--lenpen", "0.6"]
    assert results["corpus"]["lines"] == lines_of
    assert results["references"]["test"] == {"lines": lines_of["test"], "from": "sacreBLEU's wmt14/full"}
    for name, system in results["systems"].items():
        assert system["averaged"] == ["checkpoint_1_2.pt", "checkpoint_1_3.pt"] and system["updates"] == 3
        assert system["parameters"] > 1000 and system["sentences_per_second"] > 0
        for split, lines in (("valid", (corpus / "reference" / "valid.de").read_text().splitlines()), ("test", ours)):
            kinds = system["scores"][split]
            assert list(kinds) == ["tokenised BLEU", "compound-split BLEU", "sacreBLEU", "chrF", "COMET"]
            log = tmp_path / "out" / name / f"{split}.log"
            texts = detokenised(log)
            assert len(texts) == lines_of[split]
            assert kinds["sacreBLEU"]["value"] == sacrebleu.corpus_bleu(texts, [lines]).score
            assert kinds["chrF"]["value"] == sacrebleu.corpus_chrf(texts, [lines]).score
            assert ("wmt14/full" in kinds["sacreBLEU"]["how"]) == (split == "test")
            assert f"BLEU4 = {kinds['tokenised BLEU']['value']:.2f}," in log.read_text()
    assert "| test compound-split BLEU " in said and "| test sacreBLEU " in said
    (system,) = {entry["system"] for entry in results["comparisons"]}
    assert system == "baseline" and "baseline against sret, test BLEU: " in said

    again = run(EVALUATE, *words, *limit, **variables)
    assert again.count(": made before, skipped") == 6
    assert read_json(tmp_path / "out" / "results.json")["systems"] == results["systems"]


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["nothing"], "evaluate: 'nothing' is neither a run under "),
        ([], " has no run with a checkpoint; train one, or name its folder."),
        (["--last", "0"], "--last 0 must be at least 1."),
        (["run", "--against", "other"], "--against other: no such run among run."),
        (["run", "--data", "/nowhere"], "/nowhere/reference/valid.en does not exist; run prepare.sh"),
    ],
)
def test_bad_words(words, sentence, tmp_path, monkeypatch):
    """What cannot work ends with one sentence."""
    if "run" in words:
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "checkpoint_last.pt").touch()
    monkeypatch.setenv("RUNS", str(tmp_path))
    recipe = ("--recipe", REPOSITORY / "examples" / "wmt14_en_de", "--generate=--beam 4")
    assert sentence in refusal(evaluate.main, *recipe, *words)
