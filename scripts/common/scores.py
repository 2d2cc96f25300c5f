"""The kinds of score that are reported, each by itself, and what ``fairseq-generate`` wrote, from which they are made.

A Score is a number, or None with the reason why there is none, and how it was made: what has to stand beside it
wherever it is quoted.
"""

import functools
import importlib.util
import re
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import sacrebleu

from common import lines
from common.words import counted

TRANSLATION = re.compile(r"D-(\d+)\t[^\t]*\t(.*)")
SPEED = re.compile(r"Translated ([\d,]+) sentences .*\(([\d.]+) sentences/s")
BLEU4 = re.compile(r"BLEU4 = ([\d.]+),")
COMET_MODEL = "Unbabel/wmt22-comet-da"

# sacreBLEU's tokenisers for languages written without spaces, and the Python module that each needs; without it, and
# for languages that it has none for, BLEU is that of characters. ISO 639-1, 639-2 and 639-3 name the same languages.
TOKENISERS = {
    **dict.fromkeys(("zh", "zho", "chi", "cmn", "yue"), ("zh", None)),
    **dict.fromkeys(("ja", "jpn"), ("ja-mecab", "MeCab")),
    **dict.fromkeys(("ko", "kor"), ("ko-mecab", "mecab_ko")),
    **dict.fromkeys("th tha lo lao km khm my mya bur bo bod tib dz dzo".split(), ("char", None)),
}


class Score(NamedTuple):
    """A score, None where there is none, and how it was made or why it was not."""

    value: float | None
    how: str


def read_translations(path: Path, count: int) -> tuple[list[str], float]:
    """Return the ``count`` detokenised translations in a log of fairseq-generate, in order, and the sentences a second.

    Raises:
        SystemExit: the log does not hold them all.
    """
    translations, speed = {}, None
    for line in lines.read_lines(path):
        if match := TRANSLATION.fullmatch(line):
            translations[int(match[1])] = match[2]
        elif match := SPEED.search(line):
            speed = float(match[2])
    if sorted(translations) != list(range(count)) or speed is None:
        raise SystemExit(f"{path} holds {len(translations)} of the {count} translations: translate again.")
    return [translations[number] for number in range(count)], speed


def bleu_metric(language: str) -> sacrebleu.BLEU:
    """sacreBLEU's BLEU with the tokeniser of a target language, such as ``de`` or ``zh_CN``; its signature names it."""
    tokeniser, module = TOKENISERS.get(re.split("[-_]", language.lower())[0], ("13a", None))
    if module and importlib.util.find_spec(module) is None:
        tokeniser = "char"
    return sacrebleu.BLEU(tokenize=tokeniser)


def text_scores(
    hypotheses: Sequence[str], references: Sequence[str], language: str, **signature: str
) -> dict[str, Score]:
    """sacreBLEU and chrF of detokenised lines, as ``{name: Score}``; ``signature`` are entries to add to it."""
    result = {}
    for name, metric in (("sacreBLEU", bleu_metric(language)), ("chrF", sacrebleu.CHRF())):
        value = metric.corpus_score(hypotheses, [references]).score
        made = metric.get_signature()
        for key, text in signature.items():
            made.update(key, text)
        result[name] = Score(value, str(made))
    return result


def check_sacremoses() -> None:
    """Exit with one sentence if sacremoses, which detokenises, is not installed."""
    try:
        import sacremoses  # noqa: F401
    except ImportError as error:
        raise SystemExit("sacremoses is not installed: pip install '.[recipes]'") from error


def detokenise(tokenised: Sequence[str], language: str) -> list[str]:
    """The text of Moses-tokenised lines."""
    check_sacremoses()
    from sacremoses import MosesDetokenizer

    detokeniser = MosesDetokenizer(lang=language)
    return [detokeniser.detokenize(line.split()) for line in tokenised]


def generate_bleu(log: str) -> Score:
    """The BLEU that fairseq-generate printed into a log, on tokenised text without BPE."""
    found = BLEU4.search(log)
    if not found:
        return Score(None, "fairseq-generate printed no BLEU4; leave --scoring out")
    return Score(float(found[1]), "fairseq-generate --remove-bpe: BLEU4 on tokenised text")


def split_compounds(line: str) -> str:
    """A tokenised line with a hyphen between two characters as a word of its own, as fairseq's script splits it.

    The script does not spare the mark ``@-@`` of a hyphen that is split off already.
    """
    return re.sub(r"(\S)-(\S)", r"\1 ##AT##-##AT## \2", line, flags=re.ASCII)


def compound_split_bleu(hypotheses: Sequence[str], references: Sequence[str]) -> Score:
    """What fairseq's scripts/compound_split_bleu.sh prints: BLEU4 on tokenised lines with compounds split."""
    from fairseq.data import Dictionary
    from fairseq.scoring.bleu import BleuConfig, Scorer

    words = Dictionary()
    scorer = Scorer(BleuConfig(pad=words.pad(), eos=words.eos(), unk=words.unk()))
    for hypothesis, reference in zip(hypotheses, references, strict=True):
        split = (split_compounds(reference), split_compounds(hypothesis))
        scorer.add(*(words.encode_line(line) for line in split))
    return Score(scorer.score(), "as fairseq's compound_split_bleu.sh: BLEU4 on tokenised text with compounds split")


def sacrebleu_reference(test_set: str, pair: str, count: int) -> tuple[list[str] | None, str | None]:
    """The reference that sacreBLEU keeps of a test set, as lines; None, and why, where it is not to be had."""
    socket.setdefaulttimeout(30)  # sacreBLEU downloads it where it is missing, and waits for ever
    try:
        (path,) = sacrebleu.get_reference_files(test_set, pair)
        with open(path, encoding="utf-8", newline="\n") as file:
            found = [line.rstrip("\n") for line in file]
    except (Exception, SystemExit) as error:  # whatever a download makes it raise
        return None, f"{test_set} cannot be had from sacreBLEU ({type(error).__name__})"
    finally:
        socket.setdefaulttimeout(None)
    if len(found) != count:
        return None, f"{test_set} has {counted(len(found), 'line')} and this test set {count:,}"
    return found, None


@functools.lru_cache(maxsize=1)
def comet_model() -> Any:
    """The COMET model, downloaded at first."""
    from comet import download_model, load_from_checkpoint

    return load_from_checkpoint(download_model(COMET_MODEL))


def comet(sources: Sequence[str], hypotheses: Sequence[str], references: Sequence[str]) -> Score:
    """COMET of detokenised lines, where the package ``unbabel-comet`` is installed and its model is to be had."""
    import torch

    triples = [dict(src=s, mt=h, ref=r) for s, h, r in zip(sources, hypotheses, references, strict=True)]
    try:
        model = comet_model()
    except ImportError:
        return Score(None, "not installed")
    except Exception as error:  # the download of the model raises many kinds
        return Score(None, f"no model ({type(error).__name__})")
    gpus = int(torch.cuda.is_available())
    return Score(float(model.predict(triples, batch_size=32, gpus=gpus).system_score), COMET_MODEL)


def bootstrap(
    baseline: tuple[str, Sequence[str]],
    others: Sequence[tuple[str, Sequence[str]]],
    references: Sequence[str],
    language: str,
    samples: int = 1000,
) -> list[dict[str, Any]]:
    """Compare systems with a baseline by paired bootstrap resampling (seed: SACREBLEU_SEED, 12345 by default).

    Args:
        baseline: (name, detokenised lines).
        others: a list of the same.
        references: lines.
        language: of the references.
        samples: how many.

    Returns:
        for each other system and metric a dictionary: ``system``, ``against``, ``metric``, ``difference``, ``p_value``,
        ``signature``.
    """
    from sacrebleu.significance import PairedTest

    metrics = {"BLEU": bleu_metric(language), "chrF": sacrebleu.CHRF()}
    test = PairedTest([baseline, *others], metrics, [references], test_type="bs", n_samples=samples)
    signatures, scores = test()
    found = []
    for metric, signature in signatures.items():
        for name, result in zip(scores["System"][1:], scores[metric][1:], strict=True):
            difference = result.score - scores[metric][0].score
            # To systems without any difference sacreBLEU gives the least p there is.
            p_value = result.p_value if difference else 1.0
            entry = {"system": name, "against": baseline[0], "metric": metric, "difference": difference}
            found.append({**entry, "p_value": p_value, "signature": str(signature)})
    return found
