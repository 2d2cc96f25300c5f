"""scripts/prepare/merges.py learns what subword-nmt learns, merge by merge."""

import io
import random
from collections import Counter

import pytest
from subword_nmt.learn_bpe import learn_bpe

from prepare import merges

# Of few letters: symbols repeat themselves and are equally frequent.
ALPHABETS = ["a", "ab", "abc", "aabaac", "x\0y.\\*", "\u00e4\u00f6\u4e2d\U0001f600", "abcdefghij"]


def of_subword_nmt(counts, operations):
    codes = io.StringIO()
    learn_bpe([f"{word} {count}" for word, count in counts.items()], codes, operations, is_dict=True)
    return [tuple(line.split(" ")) for line in codes.getvalue().splitlines()[1:]]


@pytest.mark.parametrize("alphabet", ALPHABETS)
@pytest.mark.parametrize("seed", range(4))
def test_equals_subword_nmt(alphabet, seed):
    draw = random.Random(f"{alphabet} {seed}")
    longest = draw.choice([5, 12, 40])
    counts = Counter()
    for _ in range(draw.randint(2, 150)):
        word = "".join(draw.choice(alphabet) for _ in range(draw.randint(1, longest)))
        counts[word] += int(draw.paretovariate(0.7))
    counts["aa"] += 1
    operations = draw.choice([30, 250])
    assert list(merges.learn(counts, operations)) == of_subword_nmt(counts, operations)


def test_no_pair_twice_is_the_end():
    assert list(merges.learn({"ab": 1, "cd": 2, "c": 5}, 10)) == [("c", "d</w>")]
