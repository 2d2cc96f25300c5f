"""Byte-pair encoding with subword-nmt: learn it on several files, or apply it to one, streamed and on all cores.

The same codes and text as ``subword-nmt learn-bpe`` and ``apply-bpe`` give.
"""

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from subword_nmt.apply_bpe import BPE
from subword_nmt.learn_bpe import learn_bpe

from common import command, lines


def learn(sources: Sequence[Path], operations: int, target: Path) -> None:
    """Learn merges on the words of all sources together and write them to ``target``.

    One process counts the words: that takes little beside the merges, and their order decides between equal pairs.
    """
    counts = Counter(word for source in sources for line in lines.read_lines(source) for word in line.split())
    if not any(len(word) > 1 for word in counts):
        raise SystemExit(f"{sources[0]}: there is no word of two letters, so there is nothing to learn BPE from.")
    print(f"BPE: {operations} operations from {len(counts)} distinct words.", flush=True)
    with lines.writing(target) as file:
        learn_bpe([f"{word} {count}" for word, count in counts.items()], file, operations, is_dict=True)


def apply(codes: Path, source: Path, target: Path) -> None:
    """Write ``source`` in BPE to ``target``."""
    try:
        with open(codes, encoding="utf-8") as file:
            bpe = BPE(file)
    except OSError as error:
        raise SystemExit(f"{codes} cannot be read: {error.strerror}.") from error
    lines.map_lines(lambda batch: [bpe.process_line(line) for line in batch], source, target)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    learning = commands.add_parser("learn")
    learning.add_argument("--operations", type=int, required=True)
    learning.add_argument("sources", type=Path, nargs="+", help="tokenised text")
    learning.add_argument("codes", type=Path, help="file to write")
    applying = commands.add_parser("apply")
    applying.add_argument("codes", type=Path)
    applying.add_argument("source", type=Path, help="tokenised text")
    applying.add_argument("target", type=Path, help="file to write")
    args = parser.parse_args()
    if args.command == "learn":
        learn(args.sources, args.operations, args.codes)
    else:
        apply(args.codes, args.source, args.target)


if __name__ == "__main__":
    command.run_part(main)
