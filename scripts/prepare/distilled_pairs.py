"""Turn what fairseq-generate wrote of a training text into a new one: each source with its translation.

The sentences stand in the order of the corpus and in the pieces (BPE, SentencePiece) in which they were translated.
Every sentence has to be there, but for those that fairseq-generate says it skipped.
"""

import argparse
import re
from pathlib import Path

from common import arguments, command
from common.lines import writing
from common.words import counted

SKIPPED = re.compile(r"([\d,]+) samples have invalid sizes and will be skipped")


def read(path: Path) -> tuple[dict[int, str], dict[int, str], int]:
    """The sources and the best translations in a log, both by the sentence's number; and how many were skipped."""
    sources, translations, skipped = {}, {}, 0
    try:
        with open(path, encoding="utf-8", newline="\n") as file:
            for line in file:
                if line.startswith("S-"):
                    number, text = line[2:].rstrip("\n").split("\t")
                    sources[int(number)] = text
                elif line.startswith("H-"):
                    number, _, text = line[2:].rstrip("\n").split("\t")
                    translations.setdefault(int(number), text)
                elif match := SKIPPED.search(line):
                    skipped = int(match[1].replace(",", ""))
    except OSError as error:
        raise SystemExit(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise SystemExit(f"{path} is damaged or not what fairseq-generate wrote; translate again.") from error
    return sources, translations, skipped


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--log", type=arguments.path, required=True, help="what fairseq-generate wrote, without --quiet"
    )
    parser.add_argument(
        "--corpus", type=arguments.path, required=True, help="the binarised side of the text, without .idx"
    )
    parser.add_argument("--source", type=arguments.path, required=True, help="where the source sentences go")
    parser.add_argument("--target", type=arguments.path, required=True, help="where their translations go")
    args = parser.parse_args()
    from fairseq.data.data_utils import load_indexed_dataset  # here, since --help does without

    sources, translations, skipped = read(args.log)
    count = len(load_indexed_dataset(str(args.corpus)))
    if sources.keys() != translations.keys() or len(sources) + skipped != count:
        expected = count - skipped
        raise SystemExit(f"{args.log} holds {len(translations):,} of {expected:,} translations; translate again.")
    for path, texts in ((args.source, sources), (args.target, translations)):
        with writing(path) as file:
            file.writelines(f"{texts[number]}\n" for number in sorted(texts))
    print(f"{len(sources):,} of {counted(count, 'sentence')}, with their translations")


if __name__ == "__main__":
    command.run_part(main)
