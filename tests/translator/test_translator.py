"""From text to text: order, empty and long lines, pieces, threads, settings that are refused."""

import concurrent.futures
import random

import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from sret_translate import BundleError, Translator
from support.bundles import write_bundle, write_sentencepiece_bundle
from support.models import SOURCE_WORDS

SETTINGS = {"beam": 3, "max_len_b": 12}


def sentences(count: int) -> list:
    """Sentences of many lengths, with unknown words."""
    words = random.Random(1)
    return [
        " ".join(f"word{words.randrange(SOURCE_WORDS + 2)}" for _ in range(words.randrange(1, 12)))
        for _ in range(count)
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A bundle."""
    folder = tmp_path_factory.mktemp("translator") / "bundle"
    write_bundle(folder, seed=3, max_source_positions=15)
    return folder


def test_translations_do_not_depend_on_batches_and_keep_their_order(folder):
    texts = sentences(40)
    translator = Translator(str(folder))
    alone = [translator.translate([text], **SETTINGS)[0] for text in texts]
    assert len(set(alone)) > 10
    for batch_size in (1, 7, 64):
        assert translator.translate(texts, batch_size, **SETTINGS) == alone


def test_empty_sentences_have_empty_translations(folder):
    first, *rest = Translator(str(folder)).translate(["", "word1 word2", "  \t", ""], **SETTINGS)
    assert [first, *rest[1:]] == ["", "", ""]
    assert rest[0]
    assert Translator(str(folder)).translate([]) == []


def test_hypotheses_are_best_first(folder):
    hypotheses = Translator(str(folder)).hypotheses(sentences(5), **SETTINGS)
    for found in hypotheses:
        assert len(found) == 3
        assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)


def test_a_sentence_that_is_too_long_is_translated_in_parts(folder):
    words = [f"word{number % SOURCE_WORDS}" for number in range(30)]
    translator = Translator(str(folder))
    parts = [words[:14], words[14:28], words[28:]]
    expected = " ".join(translator.translate([" ".join(part) for part in parts], **SETTINGS))
    assert translator.translate([" ".join(words)], **SETTINGS) == [expected]


def test_threads_may_share_a_translator(folder):
    translator, texts = Translator(str(folder)), sentences(20)
    alone = translator.translate(texts, 4, **SETTINGS)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda _: translator.translate(texts, 4, **SETTINGS), range(8)))
    assert together == [alone] * 8


@pytest.mark.parametrize(
    "settings, part",
    [
        ({"beam": 0}, "beam 0 must be a whole number from 1"),
        ({"beam": 19}, "to 18"),  # half of the vocabulary
        ({"lenpen": float("nan")}, "lenpen nan must be a number"),
        ({"lenpen": -1000.0}, "lenpen -1000.0 must be from -50 to 50"),
        ({"max_len_a": 1e300}, r"max_len_a 1e\+300 must be from 0 to 1000"),
        ({"max_len_a": -1.0}, "max_len_a -1.0 must be from 0 to 1000"),
        ({"max_len_b": 0}, "max_len_b 0 must be 1 or more"),
        ({"min_len": 300}, "min_len 300 must be from 0"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(folder, settings, part):
    with pytest.raises(BundleError, match=part):
        Translator(str(folder)).translate(["word1"], **settings)


def test_plain_text_goes_through_the_sentencepiece_model(tmp_path):
    pieces = write_sentencepiece_bundle(tmp_path)
    translator = Translator(str(tmp_path / "bundle"))
    tokens = translator.bundle.encode("old house")
    assert [translator.bundle.source[token] for token in tokens] == pieces.encode("old house", out_type=str)
    assert translator.bundle.decode(tokens) == "old house"
    (translation,) = translator.translate(["the old  house"], **SETTINGS)
    assert translation and "\u2581" not in translation
