"""Read WMT14 En-De from the original archives, or with --google from the preprocessed wmt16_en_de_bpe32k.

From the originals: plain ``pairs.LANG`` of Europarl v7, Common Crawl and News Commentary v9, ``valid.LANG`` of
newstest2013 and ``test.LANG`` of newstest2014. From Google's archive: ``{train,valid,test}.LANG``, tokenised and in
BPE, and its ``codes``.
"""

import argparse
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from common import arguments, command, lines
from common.words import counted
from prepare import archives

LANGUAGES = ("en", "de")
CORPORA = ("europarl-v7.de-en", "commoncrawl.de-en", "news-commentary-v9.de-en")
TEST_SETS = {"en": "newstest2014-deen-src.en.sgm", "de": "newstest2014-deen-ref.de.sgm"}
GOOGLE = {
    "train": "train.tok.clean.bpe.32000",
    "valid": "newstest2013.tok.bpe.32000",
    "test": "newstest2014.tok.bpe.32000",
}
GOOGLE_CODES = "bpe.32000"


def write_originals(files: Sequence[Path], out: Path) -> None:
    """Unpack the originals into the folder ``out``."""
    with archives.unpacking(out / "unpacked") as folder:
        names = [f"{corpus}.{language}" for corpus in (*CORPORA, "newstest2013") for language in LANGUAGES]
        archives.extract_all(files, {name: folder / name for name in (*names, *TEST_SETS.values())})
        for corpus in CORPORA:
            texts = {name: lines.read_lines(folder / name) for name in names if name.startswith(corpus)}
            print(f"{corpus}: {counted(sum(1 for _ in lines.aligned(texts)), 'pair')}", flush=True)

        def training(language: str) -> Iterator[str]:
            return chain.from_iterable(lines.read_lines(folder / f"{corpus}.{language}") for corpus in CORPORA)

        texts = {
            "pairs": {language: training(language) for language in LANGUAGES},
            "valid": {language: lines.read_lines(folder / f"newstest2013.{language}") for language in LANGUAGES},
            "test": {language: archives.read_segments(folder / name) for language, name in TEST_SETS.items()},
        }
        for split, sides in texts.items():
            outputs = [out / f"{split}.{language}" for language in sides]
            named = {f"{split}.{language}": side for language, side in sides.items()}
            print(f"{split}: {counted(lines.write_aligned(outputs, named), 'pair')}", flush=True)


def write_google(files: Sequence[Path], out: Path) -> None:
    """Unpack Google's archive into the folder ``out``."""
    with archives.unpacking(out / "unpacked") as folder:
        names = [f"{stem}.{language}" for stem in GOOGLE.values() for language in LANGUAGES]
        archives.extract_all(files, {name: folder / name for name in (*names, GOOGLE_CODES)})
        for split, stem in GOOGLE.items():
            outputs = [out / f"{split}.{la}" for la in LANGUAGES]
            texts = {f"{stem}.{la}": lines.read_lines(folder / f"{stem}.{la}") for la in LANGUAGES}
            print(f"{split}: {counted(lines.write_aligned(outputs, texts), 'pair')}", flush=True)
        lines.write_aligned([out / "codes"], {GOOGLE_CODES: lines.read_lines(folder / GOOGLE_CODES)})


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archives", type=arguments.path, nargs="+")
    parser.add_argument("--google", action="store_true", help="the archive is wmt16_en_de.tar.gz")
    parser.add_argument("--out", type=arguments.path, required=True, help="folder to write")
    args = parser.parse_args()
    (write_google if args.google else write_originals)(args.archives, args.out)


if __name__ == "__main__":
    command.run_part(main)
