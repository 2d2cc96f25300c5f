"""The kinds of score that a recipe reports, each by itself.

A Score is a number, or None with the reason why there is none, and how it was made: what has to stand beside it
wherever it is quoted.
"""

import functools
import re
import socket
from collections import namedtuple

import sacrebleu

from common import generated

try:
    from sacremoses import MosesDetokenizer
except ImportError as error:
    raise SystemExit("sacremoses is not installed: pip install '.[recipes]'") from error

Score = namedtuple("Score", "value how")

BLEU4 = re.compile(r"BLEU4 = ([\d.]+),")
# Moses' and Stanford's marks of a hyphen that is split off already.
HYPHEN_MARKS = ("@-@", "##AT##-##AT##")
COMET_MODEL = "Unbabel/wmt22-comet-da"


def detokenise(lines, language):
    """The text of Moses-tokenised lines."""
    detokeniser = MosesDetokenizer(lang=language)
    return [detokeniser.detokenize(line.split()) for line in lines]


def generate_bleu(log):
    """The BLEU that fairseq-generate printed into a log, on tokenised text without BPE."""
    found = BLEU4.search(log)
    if not found:
        return Score(None, "fairseq-generate printed no BLEU4; leave --scoring out")
    return Score(float(found[1]), "fairseq-generate --remove-bpe: BLEU4 on tokenised text")


def split_compounds(line):
    """A tokenised line with each hyphen inside a word as a word of its own, as GNMT's scores have it."""
    return " ".join(
        word if word in HYPHEN_MARKS else re.sub(r"(\S)-(\S)", r"\1 ##AT##-##AT## \2", word) for word in line.split()
    )


def compound_split_bleu(hypotheses, references):
    """fairseq's BLEU4 on tokenised lines whose compounds are split on both sides."""
    from fairseq.data import Dictionary
    from fairseq.scoring.bleu import BleuConfig, Scorer

    words = Dictionary()
    scorer = Scorer(BleuConfig(pad=words.pad(), eos=words.eos(), unk=words.unk()))
    for hypothesis, reference in zip(hypotheses, references, strict=True):
        lines = (split_compounds(reference), split_compounds(hypothesis))
        scorer.add(*(words.encode_line(line) for line in lines))
    return Score(scorer.score(), "fairseq's BLEU4 on tokenised text with compounds split on both sides")


def sacre_scores(hypotheses, references, **signature):
    """sacreBLEU and chrF of detokenised lines, as ``{name: Score}``; ``signature`` are entries to add to it."""
    return {name: Score(*made) for name, made in generated.score(hypotheses, references, **signature).items()}


def sacrebleu_reference(test_set, pair, count):
    """The reference that sacreBLEU keeps of a test set, as lines; None, and why, where it is not to be had."""
    socket.setdefaulttimeout(30)  # sacreBLEU downloads it where it is missing, and waits for ever
    try:
        (path,) = sacrebleu.get_reference_files(test_set, pair)
        with open(path, encoding="utf-8", newline="\n") as file:
            lines = [line.rstrip("\n") for line in file]
    except (Exception, SystemExit) as error:  # whatever a download makes it raise
        return None, f"{test_set} cannot be had from sacreBLEU ({type(error).__name__})"
    finally:
        socket.setdefaulttimeout(None)
    if len(lines) != count:
        return None, f"{test_set} has {len(lines)} lines and this test set {count}"
    return lines, None


@functools.lru_cache(maxsize=1)
def comet_model():
    """The COMET model, downloaded at first."""
    from comet import download_model, load_from_checkpoint

    return load_from_checkpoint(download_model(COMET_MODEL))


def comet(sources, hypotheses, references):
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


def bootstrap(baseline, others, references, samples=1000):
    """Compare systems with a baseline by paired bootstrap resampling (seed: SACREBLEU_SEED, 12345 by default).

    Args:
        baseline: (name, detokenised lines).
        others: a list of the same.
        references: lines.
        samples: how many.

    Returns:
        for each other system and metric a dictionary: ``system``, ``against``, ``metric``, ``difference``, ``p_value``,
        ``signature``.
    """
    from sacrebleu.significance import PairedTest

    metrics = {"BLEU": sacrebleu.BLEU(), "chrF": sacrebleu.CHRF()}
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
