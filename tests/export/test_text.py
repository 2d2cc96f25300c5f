"""Which SentencePiece models fit a dictionary: never refused is one that cut the text of which it was made."""

import io
import random
from collections import Counter

import pytest
import sentencepiece
from fairseq.data import Dictionary

from sret_fairseq.errors import OptionError
from sret_fairseq.export import text
from support.models import REPOSITORY

PUBLISHED = REPOSITORY / "examples" / "pretrained" / "tatoeba_de_en"
SYLLABLES = "ka lo mi ne ru sa ti vo du pe".split()
OTHERS = "\u043a\u0430 \u043b\u043e \u043c\u0438 \u043d\u0435 \u0440\u0443".split()  # of another script


def sentences(syllables, seed, count=300):
    """Text of made-up words."""
    choices = random.Random(seed)
    words = ["".join(choices.choices(syllables, k=choices.randint(1, 4))) for _ in range(80)]
    return [" ".join(choices.choices(words, k=6)) for _ in range(count)]


def trained(lines, pieces=120, **options):
    """A SentencePiece model of text."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        vocab_size=pieces,
        hard_vocab_limit=False,
        minloglevel=2,
        **options,
    )
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def pieces_of(model):
    """The pieces of a model."""
    return {model.id_to_piece(number) for number in range(model.vocab_size())}


def dictionary(model, lines, threshold=-1, padding=8):
    """The dictionary that fairseq-preprocess makes of text cut by a model."""
    result = Dictionary()
    for word, count in Counter(word for line in lines for word in model.encode(line, out_type=str)).items():
        result.add_symbol(word, count)
    result.finalize(threshold, padding_factor=padding)
    return result


def with_rare_characters(lines):
    """A sentence in a hundred has some that no other has."""
    return [f"{line} {chr(0x4E00 + n)}{chr(0x5E00 + n)}" if n % 100 == 0 else line for n, line in enumerate(lines)]


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_the_right_model_fits(kind):
    """Whatever the dictionary lacks of it, has beside it, or pads itself with."""
    lines = sentences(SYLLABLES, 1)
    model = trained(lines, model_type=kind)
    pieces = pieces_of(model)
    for made in (
        dictionary(model, lines),
        dictionary(model, lines[:5], threshold=3, padding=64),
        dictionary(model, with_rare_characters(lines)),
        dictionary(model, sentences(SYLLABLES[:5], 2)),
        Dictionary(),
    ):
        assert text.fits(pieces, made)
    tagged = dictionary(model, lines)
    for tag in ("<2de>", "__en__"):
        tagged.add_symbol(tag, 300)
    assert text.fits(pieces, tagged)


def test_another_model_does_not_fit():
    """Of fewer pieces, of other text, of another script."""
    lines = sentences(SYLLABLES, 1)
    made = dictionary(trained(lines), lines)
    for other in (trained(lines, 40), trained(sentences(SYLLABLES, 2)), trained(sentences(OTHERS, 1), 60)):
        assert not text.fits(pieces_of(other), made)


@pytest.mark.parametrize("language", ["de", "en"])
def test_the_published_model(language, tmp_path):
    """It fits both dictionaries; the sentence for another one names it."""
    made = Dictionary.load(str(PUBLISHED / f"dict.{language}.txt"))
    text.check_sentencepiece(PUBLISHED / "sentencepiece.model", made)
    (tmp_path / "other.model").write_bytes(trained(sentences(SYLLABLES, 1)).serialized_model_proto())
    with pytest.raises(OptionError, match=r"^--sentencepiece: .*other\.model is of another text"):
        text.check_sentencepiece(tmp_path / "other.model", made)
