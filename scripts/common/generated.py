"""Read and score what ``fairseq-generate`` wrote."""

import re

import sacrebleu

from common import lines

TRANSLATION = re.compile(r"D-(\d+)\t[^\t]*\t(.*)")
SPEED = re.compile(r"Translated ([\d,]+) sentences .*\(([\d.]+) sentences/s")


def read(path, count):
    """Return the ``count`` detokenised translations in ``path``, in order, and the sentences a second."""
    translations, speed = {}, None
    for line in lines.read_lines(path):
        if match := TRANSLATION.fullmatch(line):
            translations[int(match[1])] = match[2]
        elif match := SPEED.search(line):
            speed = float(match[2])
    if sorted(translations) != list(range(count)) or speed is None:
        raise SystemExit(f"{path} holds {len(translations)} of the {count} translations: translate again.")
    return [translations[number] for number in range(count)], speed


def score(translations, references, **entries):
    """Return BLEU and chrF of detokenised text by name, ``(score, signature)``; ``entries`` are added to signatures."""
    result = {}
    for name, metric in (("sacreBLEU", sacrebleu.BLEU()), ("chrF", sacrebleu.CHRF())):
        value = metric.corpus_score(translations, [references]).score
        signature = metric.get_signature()
        for key, text in entries.items():
            signature.update(key, text)
        result[name] = (value, str(signature))
    return result
