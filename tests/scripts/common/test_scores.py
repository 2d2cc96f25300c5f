"""scripts/common/scores.py: every kind of score is what its own tool says, and unlike kinds are told apart."""

import importlib
import shutil
import subprocess
import sys

import pytest
import sacrebleu

from common import scores

REFERENCES = [
    "the old house stands by the well-known river .",
    "a state-of-the-art garden , isn 't it ?",
    "we saw the water and the trees .",
    "nobody came to the small village in winter .",
]


HYPOTHESES = [
    "the old house is by the well-known river .",
    "a state-of-the-art garden is it ?",
    "we saw water and the trees .",
    "nobody came to the village in the winter .",
]


def test_sacre_scores(tmp_path):
    """sacreBLEU and chrF are those of the command sacrebleu, their signatures too."""
    (tmp_path / "hypotheses").write_text("\n".join(HYPOTHESES) + "\n")
    (tmp_path / "references").write_text("\n".join(REFERENCES) + "\n")
    found = scores.text_scores(HYPOTHESES, REFERENCES, "en")
    for name, metric in (("sacreBLEU", "bleu"), ("chrF", "chrf")):
        words = [tmp_path / "references", "-i", tmp_path / "hypotheses", "-m", metric, "-w", "6", "-f", "text"]
        said = subprocess.run([sys.executable, "-m", "sacrebleu", *words], capture_output=True, text=True).stdout
        assert f"|{found[name].how.split('|', 1)[1]} = {found[name].value:.6f}" in said
    assert 20 < found["sacreBLEU"].value < 90 and found["sacreBLEU"].value != found["chrF"].value


def test_signature_names_the_test_set():
    """A score against a set of sacreBLEU's says so."""
    found = scores.text_scores(HYPOTHESES, REFERENCES, "en", test="wmt14/full", lang="en-de")
    assert "test:wmt14/full|lang:en-de" in found["sacreBLEU"].how
    assert found["sacreBLEU"].value == scores.text_scores(HYPOTHESES, REFERENCES, "en")["sacreBLEU"].value


def test_split_compounds():
    """Hyphens inside words are words of their own, in marks of split ones too; hyphens alone stay."""
    split = scores.split_compounds
    assert split("a well-known river - or 1-2") == ("a well ##AT##-##AT## known river - or 1 ##AT##-##AT## 2")
    assert split("-x y- @-@ a-b-c") == "-x y- @ ##AT##-##AT## @ a ##AT##-##AT## b-c"


@pytest.mark.skipif(not shutil.which("perl"), reason="fairseq's script needs Perl")
def test_compounds_are_split_as_fairseq_splits_them():
    """Its script compound_split_bleu.sh hands both sides to this Perl."""
    lines = [*REFERENCES, "ein Haus @-@ Hund", "-x y- a-b-c ##AT##-##AT##", "grün-weiß 1\u00a0-\u00a02 \u4e2d-\u6587"]
    perl = ["perl", "-ple", "s{(\\S)-(\\S)}{$1 ##AT##-##AT## $2}g"]
    said = subprocess.run(perl, input="".join(f"{line}\n" for line in lines).encode(), capture_output=True, check=True)
    assert [scores.split_compounds(line) for line in lines] == said.stdout.decode().splitlines()


@pytest.mark.parametrize(
    ("language", "tokeniser"),
    [("de", "13a"), ("zh", "zh"), ("zh_CN", "zh"), ("cmn", "zh"), ("ja", "char"), ("ko_KR", "char"), ("th", "char")],
)
def test_languages_without_spaces(monkeypatch, language, tokeniser):
    """A nearly right translation has a high BLEU in every script, and the signature says what it was divided into."""
    monkeypatch.setattr(scores.importlib.util, "find_spec", lambda name: None)  # no MeCab
    sentences = {"de": "Das alte Haus steht am Fluss", "zh": "那座老房子在河边的小树林旁边", "th": "บ้านเก่าตั้งอยู่ริมแม่น้ำ"}
    text = sentences.get(language[:2], sentences["zh"])
    found = scores.text_scores([f"{text}!"] * 4, [f"{text}."] * 4, language)["sacreBLEU"]
    assert found.value > 60 and f"|tok:{tokeniser}|" in found.how
    bootstrap = scores.bootstrap(("a", [text] * 4), [("b", [text[2:]] * 4)], [text] * 4, language, samples=20)
    assert f"|tok:{tokeniser}|" in bootstrap[0]["signature"]


def test_compound_split_bleu():
    """It is BLEU of the split words, here by sacreBLEU; and more than without splitting."""

    def bleu(split):
        texts = [[split(line) for line in lines] for lines in (HYPOTHESES, REFERENCES)]
        metric = sacrebleu.BLEU(tokenize="none", smooth_method="none", force=True)
        return metric.corpus_score(texts[0], [texts[1]]).score

    found = scores.compound_split_bleu(HYPOTHESES, REFERENCES)
    assert found.value == pytest.approx(bleu(scores.split_compounds), abs=1e-3)
    assert found.value > bleu(str) + 1
    assert "compounds split" in found.how


def test_bootstrap():
    """Equal systems do not differ, p is 1; a system that is right everywhere is better than one that is not."""
    many = [line for line in REFERENCES for _ in range(8)]
    wrong = [line for line in HYPOTHESES for _ in range(8)]
    found = scores.bootstrap(("a", wrong), [("b", wrong), ("c", many)], many, "en", samples=200)
    assert [(entry["system"], entry["metric"]) for entry in found] == [
        *(("b", "BLEU"), ("c", "BLEU"), ("b", "chrF2"), ("c", "chrF2")),
    ]
    for entry in found:
        same = entry["system"] == "b"
        assert (entry["difference"] == 0) == same
        assert entry["p_value"] == 1.0 if same else entry["p_value"] < 0.01
        assert "bs:200|seed:12345" in entry["signature"]
    assert found == scores.bootstrap(("a", wrong), [("b", wrong), ("c", many)], many, "en", samples=200)


def test_comet(monkeypatch, tmp_path):
    """Without the package the cell says so; with it, here a stand-in, the score is the model's."""
    texts = (["quelle"], ["translation"], ["reference"])
    monkeypatch.setitem(sys.modules, "comet", None)
    assert scores.comet(*texts) == (None, "not installed")
    (tmp_path / "standin_comet.py").write_text(
        "from types import SimpleNamespace\n"
        "download_model = str.upper\n"
        "class load_from_checkpoint:\n"
        "    def __init__(self, path): assert path == 'UNBABEL/WMT22-COMET-DA'\n"
        "    def predict(self, data, batch_size, gpus):\n"
        "        assert data == [{'src': 'quelle', 'mt': 'translation', 'ref': 'reference'}]\n"
        "        return SimpleNamespace(system_score=0.625)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(sys.modules, "comet", importlib.import_module("standin_comet"))
    scores.comet_model.cache_clear()
    assert scores.comet(*texts) == (0.625, "Unbabel/wmt22-comet-da")
    scores.comet_model.cache_clear()


def test_reference_of_sacrebleu(monkeypatch, tmp_path):
    """It is taken if its lines are as many as the test set's; else, or without a download, the reason is told."""
    (tmp_path / "ref").write_text("eins\nzwei \u2028 drei\n")
    monkeypatch.setattr(sacrebleu, "get_reference_files", lambda name, pair: [tmp_path / "ref"])
    assert scores.sacrebleu_reference("wmt14/full", "en-de", 2) == (["eins", "zwei \u2028 drei"], None)
    assert scores.sacrebleu_reference("wmt14/full", "en-de", 3) == (
        None,
        "wmt14/full has 2 lines and this test set 3",
    )
    monkeypatch.setattr(sacrebleu, "get_reference_files", lambda name, pair: sys.exit(1))
    assert "cannot be had from sacreBLEU" in scores.sacrebleu_reference("wmt14/full", "en-de", 2)[1]


def test_without_sacremoses(monkeypatch):
    """One sentence, before any translation."""
    monkeypatch.setitem(sys.modules, "sacremoses", None)
    with pytest.raises(SystemExit, match=r"^sacremoses is not installed: pip install"):
        scores.check_sacremoses()
