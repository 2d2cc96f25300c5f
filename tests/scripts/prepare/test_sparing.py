"""scripts/prepare/sparing.py writes what sacremoses writes."""

import random

import pytest
import sacremoses

from prepare import sparing

WORDS = (
    "Dr. z.B. U.S.A. No. 5 Nr. 3,5 1,000 e.g. don't l'eau rock'n'roll a-b - -- ... . , ., d. haus. Haus. 12.".split()
)
MARKS = (
    " ,.'-\"ab1\u00fc`\u00a0%\u201e\u201c\u201d\u00ab\u00bb\u00b4\u2018\u2019\u201a\u2013\u2014\u2026()\u00ba:;?!|[]<&"
)


@pytest.fixture(scope="module")
def text():
    draw = random.Random(1)
    lines = [" ".join(draw.choices(WORDS, k=draw.randint(0, 12))) for _ in range(500)]
    return lines + ["".join(draw.choices(MARKS, k=draw.randint(1, 40))) for _ in range(500)]


@pytest.mark.parametrize("language", ["en", "de", "fr"])
def test_equals_sacremoses(text, language):
    normalizer = sacremoses.MosesPunctNormalizer(language, perl_parity=True)
    sparing_normalizer = sparing.PunctNormalizer(language, perl_parity=True)
    tokenizer, sparing_tokenizer = sacremoses.MosesTokenizer(language), sparing.Tokenizer(language)
    for line in text:
        assert sparing_normalizer.normalize(f"{line}\n") == normalizer.normalize(f"{line}\n")
        for aggressive in (True, False):
            options = {"aggressive_dash_splits": aggressive, "return_str": True}
            assert sparing_tokenizer.tokenize(line, **options) == tokenizer.tokenize(line, **options)
