"""Read IWSLT14 De-En from the archive de-en.tgz: plain sentence pairs and the plain test set.

Writes ``pairs.LANG`` (all training pairs, of which the recipe sets some aside) and ``test.LANG``. The choice of lines
is that of fairseq's prepare-iwslt14.sh.
"""

import argparse
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from common import arguments, command, lines
from common.words import counted
from prepare import archives

LANGUAGES = ("de", "en")
TEST_SETS = ("TED.dev2010", "TEDX.dev2012", "TED.tst2010", "TED.tst2011", "TED.tst2012")
# Lines about a talk. Titles and descriptions are sentences in both languages, so they stay and lose their tags.
ABOUT = re.compile(r"\s*</?(url|talkid|keywords|speaker|reviewer|translator)\b")
TAGS = re.compile(r"</?(title|description)>")


def training_lines(path: Path) -> Iterator[str]:
    """Yield the sentences of a ``train.tags`` file."""
    for line in lines.read_lines(path):
        if not ABOUT.match(line):
            yield TAGS.sub("", line).strip()


def test_lines(paths: Iterable[Path]) -> Iterator[str]:
    """Yield the sentences of the test sets one after the other, with ASCII's apostrophe for the typographic one."""
    for path in paths:
        for line in archives.read_segments(path):
            yield line.replace("\u2019", "'")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=arguments.path, help="de-en.tgz")
    parser.add_argument("--out", type=arguments.path, required=True, help="folder to write")
    args = parser.parse_args()
    with archives.unpacking(args.out / "unpacked") as folder:
        train = {language: folder / f"train.tags.de-en.{language}" for language in LANGUAGES}
        tests = {
            language: [folder / f"IWSLT14.{name}.de-en.{language}.xml" for name in TEST_SETS] for language in LANGUAGES
        }
        wanted = [*train.values(), *tests["de"], *tests["en"]]
        archives.extract_all([args.archive], {path.name: path for path in wanted})
        pairs, test = ([args.out / f"{name}.{language}" for language in LANGUAGES] for name in ("pairs", "test"))
        pair_count = lines.write_aligned(pairs, {path.name: training_lines(path) for path in train.values()})
        texts = {f"the test sets' {language}": test_lines(paths) for language, paths in tests.items()}
        test_count = lines.write_aligned(test, texts)
    print(f"{args.archive}: {counted(pair_count, 'pair')} to train and validate on, {test_count} to test on.")


if __name__ == "__main__":
    command.run_part(main)
