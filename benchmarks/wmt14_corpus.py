"""Write archives of the size and shape of WMT14 English-German's, of words that mean nothing.

For measuring the recipe at its real size where the data is not at hand: the five files that
examples/wmt14_en_de/prepare.sh downloads, with 4,520,620 pairs unless told otherwise. Words follow Zipf's law, with
some two million of them in a language; the rarer ones are compounds. Some lines are what web text has too: empty, far
too long, of lengths that do not fit, with entities and odd characters. A seed decides every byte.
"""

import argparse
import contextlib
import gzip
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

sys.path.append(str(Path(__file__).resolve().parents[1] / "scripts"))  # it is called without run.sh
from common import arguments, files

LANGUAGES = ("en", "de")
PAIRS = 4_520_620
CHUNK = 10_000  # pairs drawn at once

# Words. Of rank 0 to 199 they have one syllable, then two, and from COMMON on they are made of two common words.
SYLLABLES = 200
COMMON = SYLLABLES + SYLLABLES**2
TYPES = 3_000_000  # of which a corpus of the real size shows two million
ZIPF_EXPONENT = 1.1
ZIPF_SHIFT = 2.7
ONSETS = {"en": "b c d f g h l m n p r s t th w sh st pr cl tr".split(),
          "de": "b d f g h k l m n r s sch st t w z v pf kr br".split()}  # fmt: skip
RIMES = {"en": "a e i o u an er in or ea".split(), "de": "a e i o u en er ein ü ä".split()}
LINKS = {"en": ["-", "", "ing", "ly", "er", "ness", "'s", "ed"], "de": ["s", "", "en", "er", "es", "ungs", "e", "-"]}

# What stands between words: the first most often, then any. Behind the last one: one of ENDS.
GAPS = [" ", ", ", "; ", ": ", " - ", " \u2013 ", " (", ") ", ' "', '" ', " \u201e", "\u201c ", "'s ", "  "]
ENDS = [".\n", ".\n", ".\n", ".\n", "?\n", "!\n", ":\n", "\n", ' ."\n', " \n", "\r\n"]
GAP_RATE = 0.12
ODD = [
    "&amp;", "&quot;", "&lt;b&gt;", "&#39;", "&nbsp;", "<br>", "www.example.com/a?b=c&d=e", "name@example.org",
    "1,234.56", "\u20ac5", "3.000,-", "50%", "20/20", "...", "\u2026", "\u00ab", "\u00bb", "\u2019s", "\u00ad",
    "\u200b", "\u00a0", "\u2028", "\u0085", "\u001f", "\ufeff", "e\u0301", "\U0001f600", "\u4e2d\u6587",
    "\u0430\u0431\u0432", "\uff21\uff22", "\u0645\u0631\u062d", "|", "[1]", "#", "\\", "C++", "x" * 1200,
]  # fmt: skip


class Corpus(NamedTuple):
    """A training corpus: its archive and member, its part of all pairs, and how much of it is out of the ordinary."""

    archive: str
    member: str
    share: float
    misfits: float
    odd: float


CORPORA = (
    Corpus("training-parallel-europarl-v7.tgz", "training/europarl-v7.de-en", 1_920_209 / PAIRS, 0.01, 0.0002),
    Corpus("training-parallel-commoncrawl.tgz", "commoncrawl.de-en", 2_399_123 / PAIRS, 0.05, 0.004),
    Corpus("training-parallel-nc-v9.tgz", "training/news-commentary-v9.de-en", 201_288 / PAIRS, 0.01, 0.0002),
)
TEST_SETS = {"newstest2013": 3000, "newstest2014": 3003}


class Vocabulary:
    """The words of a language in one array of bytes, then gaps, ends, odd words and the empty word."""

    def __init__(self, language: str) -> None:
        others = [text.encode() for text in (*GAPS, *ENDS, *ODD, "")]
        words = words_of(language)
        length = np.char.str_len(words)
        cells = words.view(np.uint8).reshape(len(words), -1)
        letters = cells[np.arange(cells.shape[1]) < length[:, None]]
        self.bytes = np.concatenate([letters, np.frombuffer(b"".join(others), np.uint8)])
        self.length = np.concatenate([length, [len(text) for text in others]])
        self.start = np.cumsum(self.length) - self.length
        self.gap, self.end = TYPES, TYPES + len(GAPS)
        self.odd = self.end + len(ENDS)
        self.empty = self.odd + len(ODD)

    def text(self, words: NDArray[np.int64], counts: NDArray[np.int64], rng: np.random.Generator) -> bytes:
        """The lines of sentences.

        Args:
            words: numbers of the words of all sentences, one after the other.
            counts: how many each sentence has; one without any has the empty word.
            rng: draws what stands between the words.
        """
        gaps = np.where(rng.random(len(words)) < GAP_RATE, rng.integers(0, len(GAPS), len(words)), 0) + self.gap
        last = np.cumsum(counts) - 1
        gaps[last] = rng.integers(0, len(ENDS), len(last)) + self.end
        first = last - counts + 1
        gaps[last[words[first] == self.empty]] = self.end + ENDS.index("\n")
        items = np.stack([words, gaps], axis=1).reshape(-1)
        length = self.length[items]
        end = np.cumsum(length)
        place = np.repeat(self.start[items] - (end - length), length) + np.arange(end[-1])
        text = self.bytes[place]
        capital = (end - length)[2 * first]
        capital = capital[(text[capital] >= ord("a")) & (text[capital] <= ord("z"))]
        text[capital] -= 32
        return text.tobytes()


def words_of(language: str) -> NDArray[np.bytes_]:
    """The words of a language by rank; those of many types have more letters, and every 41st is a number."""
    syllables = np.array([(onset + rime).encode() for rime in RIMES[language] for onset in ONSETS[language]])
    rank = np.arange(SYLLABLES**2)
    two = np.char.add(syllables[rank // SYLLABLES], syllables[rank * 7 % SYLLABLES])
    common = np.concatenate([syllables, two])
    common[100::41] = [str(number).encode() for number in range(len(common[100::41]))]
    if language == "de":  # a third of German's words are nouns
        common[::3] = np.char.capitalize(common[::3])
    # A walk over the pairs of common words that meets each once: step and number have no factor in common.
    pair = np.arange(1, TYPES - COMMON + 1) * 1_000_003 % (COMMON * COMMON)
    links = np.array([link.encode() for link in LINKS[language]])
    link = links[pair % 101 % len(links)]
    rest = common[pair // COMMON]
    if language == "de":
        rest = np.char.lower(rest)
    return np.concatenate([common, np.char.add(np.char.add(common[pair % COMMON], link), rest)])


def zipf() -> NDArray[np.float64]:
    """The probability of a word of a rank or a smaller one, for each."""
    total = np.cumsum((np.arange(TYPES) + ZIPF_SHIFT) ** -ZIPF_EXPONENT)
    return total / total[-1]


def draw_counts(size: int, misfits: float, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numbers of words of ``size`` pairs: 25 on average, a long tail, and some that do not fit each other."""
    english = rng.lognormal(np.log(25) - 0.65**2 / 2, 0.65, size)
    german = english * rng.lognormal(-0.02, 0.14, size)
    unfit = rng.random(size)
    german = np.where(unfit < misfits, german * rng.choice([0.0, 0.2, 0.5, 2.0, 5.0], size), german)
    english = np.where(unfit > 1 - misfits / 8, 0.0, english)
    longest = np.where(rng.random(size) < 1e-5, 200.0, 1.0)  # lines of thousands of words
    return np.rint(english * longest).astype(np.int64), np.rint(german * longest).astype(np.int64)


def draw(
    corpus: Corpus, words: dict[str, Vocabulary], total: NDArray[np.float64], size: int, key: list[int]
) -> Iterator[dict[str, bytes]]:
    """Yield texts of both languages, of at most CHUNK pairs each.

    Args:
        corpus: what is to be unusual in it.
        words: of each language.
        total: of ``zipf``.
        size: how many pairs in all.
        key: decides, together with the number of a chunk, what is drawn for it.
    """
    for chunk, start in enumerate(range(0, size, CHUNK)):
        rng = np.random.default_rng([*key, chunk])
        counts = draw_counts(min(CHUNK, size - start), corpus.misfits, rng)
        shown = tuple(np.maximum(count, 1) for count in counts)  # a line without words has the empty word
        english = np.searchsorted(total, rng.random(shown[0].sum()))
        texts = {}
        for language, numbers, count, length in zip(
            LANGUAGES, (english, translated(english, *shown, total, rng)), counts, shown
        ):
            vocabulary = words[language]
            odd = np.flatnonzero(rng.random(len(numbers)) < corpus.odd)
            numbers[odd] = vocabulary.odd + rng.integers(0, len(ODD), len(odd))
            numbers[(np.cumsum(length) - length)[count == 0]] = vocabulary.empty
            texts[language] = vocabulary.text(numbers, length, rng)
        yield texts


def translated(
    english: NDArray[np.int64],
    source: NDArray[np.int64],
    target: NDArray[np.int64],
    total: NDArray[np.float64],
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Numbers of words for sentences of ``target`` words: those of the sentence's other side, but for 15%."""
    behind = np.arange(target.sum()) - np.repeat(np.cumsum(target) - target, target)
    start, source, target = (np.repeat(each, target) for each in (np.cumsum(source) - source, source, target))
    german = english[start + behind * source // target]
    other = np.flatnonzero(rng.random(len(german)) < 0.15)
    german[other] = np.searchsorted(total, rng.random(len(other)))
    return german


@contextlib.contextmanager
def packing(path: Path) -> Iterator[tarfile.TarFile]:
    """Give a gzipped tar archive to add to, under another name until it is whole; without times, so always the same."""
    with (
        files.atomic(path) as temporary,
        open(temporary, "wb") as file,
        gzip.GzipFile("", "wb", 1, file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        yield archive


def add(archive: tarfile.TarFile, name: str, file: BinaryIO) -> None:
    """Put what was written to a file into an archive."""
    member = tarfile.TarInfo(name)
    member.size = file.tell()
    file.seek(0)
    archive.addfile(member, file)


def test_member(name: str, language: str, text: bytes) -> tuple[str, bytes]:
    """Name and contents of a test set in its archive: newstest2014 is SGML."""
    if name == "newstest2013":
        return f"dev/{name}.{language}", text
    segments = text.decode().removesuffix("\n").split("\n")
    body = "".join(f'<seg id="{number}">{segment.strip()}</seg>\n' for number, segment in enumerate(segments, 1))
    side = "src" if language == "en" else "ref"
    wrapped = f'<srcset setid="{name}" srclang="any">\n<doc docid="1">\n<p>\n{body}</p>\n</doc>\n</srcset>\n'
    return f"test-full/{name}-deen-{side}.{language}.sgm", wrapped.encode()


def read_test(folder: Path, name: str) -> dict[str, bytes]:
    """A test set's text from ``NAME.LANG`` or ``NAME.LANG.gz`` in a folder."""
    texts = {}
    for language in LANGUAGES:
        path = folder / f"{name}.{language}"
        texts[language] = path.read_bytes() if path.is_file() else gzip.decompress(Path(f"{path}.gz").read_bytes())
    return texts


def write(out: Path, pairs: int, seed: int, newstest: Path | None) -> None:
    """Write the five archives into the folder ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    words = {language: Vocabulary(language) for language in LANGUAGES}
    total, left = zipf(), pairs
    for number, corpus in enumerate(CORPORA):
        size = left if corpus is CORPORA[-1] else round(pairs * corpus.share)
        left -= size
        with contextlib.ExitStack() as stack:
            sides = {la: stack.enter_context(tempfile.TemporaryFile(dir=out)) for la in LANGUAGES}
            for texts in draw(corpus, words, total, size, [seed, number]):
                for language, text in texts.items():
                    sides[language].write(text)
            archive = stack.enter_context(packing(out / corpus.archive))
            for language, file in sides.items():
                add(archive, f"{corpus.member}.{language}", file)
        print(f"{corpus.archive}: {size:,} pairs", flush=True)
    plain = Corpus("", "", 0, 0, 0.0002)
    for number, (name, size) in enumerate(TEST_SETS.items(), len(CORPORA)):
        texts = read_test(newstest, name) if newstest else next(draw(plain, words, total, size, [seed, number]))
        with packing(out / ("dev.tgz" if name == "newstest2013" else "test-full.tgz")) as archive:
            for language in LANGUAGES:
                with tempfile.TemporaryFile() as file:
                    member, contents = test_member(name, language, texts[language])
                    file.write(contents)
                    add(archive, member, file)


def main() -> int | str:
    """Run the command line; what it returns is for sys.exit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=arguments.path, required=True, metavar="DIR", help="folder to write")
    parser.add_argument("--pairs", type=arguments.at_least(100), default=PAIRS, metavar="N", help=f"default: {PAIRS:,}")
    parser.add_argument("--seed", type=arguments.at_least(0), default=1, metavar="S", help="default: 1")
    parser.add_argument(
        "--newstest", type=arguments.path, metavar="DIR", help="take newstest201{3,4}.{en,de}[.gz] from there"
    )
    args = parser.parse_args()
    try:
        write(args.out, args.pairs, args.seed, args.newstest)
    except OSError as error:
        return f"wmt14_corpus: {error.filename or args.out}: {error.strerror or error}."
    return 0


if __name__ == "__main__":
    sys.exit(main())
