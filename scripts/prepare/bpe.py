"""Byte-pair encoding: learn it on several files, or apply it to one, streamed and on all cores.

The same codes and text as ``subword-nmt learn-bpe`` and ``apply-bpe`` give. ``train`` applies it to both sides of a
training text and drops unfit pairs as clean_pairs.py does, so that the text need not be written twice.
"""

import argparse
import contextlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from subword_nmt.apply_bpe import BPE
from subword_nmt.learn_bpe import learn_bpe

from common import arguments, command, lines, progress
from prepare import clean_pairs, merges

REMEMBERED = 4_000_000  # words in all processes together: some 900 MB


class Segments(dict[str, str]):
    """The pieces of words, separated by spaces; those of the first words that come are kept."""

    def __init__(self, codes: Path) -> None:
        self.most = REMEMBERED // lines.workers()
        try:
            with open(codes, encoding="utf-8") as file:
                self.bpe = BPE(file)
        except OSError as error:
            raise SystemExit(f"{codes} cannot be read: {error.strerror}.") from error

    def __missing__(self, word: str) -> str:
        pieces = self.bpe.segment(word)
        self.bpe.cache.clear()
        if len(self) < self.most:
            self[word] = pieces
        return pieces

    def line(self, line: str) -> str:
        """A line in BPE; spaces that separate no words are treated as subword-nmt does."""
        if "  " in line or line != line.strip("\r\n "):
            return self.bpe.process_line(line)
        return " ".join(map(self.__getitem__, line.split(" ")))


def learn(sources: Sequence[Path], operations: int, target: Path) -> None:
    """Learn merges on the words of all sources together and write them to ``target``."""
    counts: Counter[str] = Counter()
    for source in sources:
        for batch in lines.batches(source):
            counts.update(" ".join(batch).split())
    if not any(len(word) > 1 for word in counts):
        raise SystemExit(f"{sources[0]}: there is no word of two letters, so there is nothing to learn BPE from.")
    print(f"BPE: {operations} operations from {len(counts)} distinct words.", flush=True)
    shown = progress.Progress("BPE", "operations", operations)
    with lines.writing(target) as file:
        if any(merges.END in word for word in counts):
            learn_bpe([f"{word} {count}" for word, count in counts.items()], file, operations, is_dict=True)
            return
        file.write("#version: 0.2\n")
        for number, pair in enumerate(merges.learn(counts, operations), 1):
            file.write(f"{' '.join(pair)}\n")
            shown.report(number, number)


def apply(codes: Path, source: Path, target: Path) -> None:
    """Write ``source`` in BPE to ``target``."""
    segments = Segments(codes)
    lines.map_lines(lambda batch: [segments.line(line) for line in batch], source, target)


def train(args: argparse.Namespace) -> None:
    """Write the pairs of ``args.pairs`` in BPE to ``args.target``, without those that are unfit then."""
    segments = Segments(args.codes)

    def cut(batch: list[tuple[str, ...]]) -> list[tuple[str, ...] | str]:
        pairs = [tuple(map(segments.line, pair)) for pair in batch]
        return [clean_pairs.fault(*pair, args.longest, args.ratio) or pair for pair in pairs]

    sources, targets = ([Path(f"{prefix}.{la}") for la in args.languages] for prefix in (args.pairs, args.target))
    kept, faults = 0, Counter()
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(lines.writing(target)) for target in targets]
        for _, results in lines.mapped(cut, lines.aligned_batches(sources), args.pairs):
            faults.update(result for result in results if isinstance(result, str))
            pairs = [result for result in results if not isinstance(result, str)]
            kept += len(pairs)
            for file, side in zip(files, zip(*pairs)):
                file.writelines(f"{line}\n" for line in side)
        clean_pairs.require_some(args.pairs, kept, faults)
    print(clean_pairs.outcome(kept, 0, faults))


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    learning = commands.add_parser("learn")
    learning.add_argument("--operations", type=int, required=True)
    learning.add_argument("sources", type=arguments.path, nargs="+", help="tokenised text")
    learning.add_argument("codes", type=arguments.path, help="file to write")
    applying = commands.add_parser("apply")
    applying.add_argument("codes", type=arguments.path)
    applying.add_argument("source", type=arguments.path, help="tokenised text")
    applying.add_argument("target", type=arguments.path, help="file to write")
    training = commands.add_parser("train")
    training.add_argument("codes", type=arguments.path)
    training.add_argument("pairs", metavar="PREFIX", help="tokenised sentence pairs")
    training.add_argument("target", metavar="PREFIX", help="files to write")
    training.add_argument("--languages", nargs=2, required=True, metavar=("SOURCE", "TARGET"))
    clean_pairs.add_limits(training)
    args = parser.parse_args()
    if args.command == "learn":
        learn(args.sources, args.operations, args.codes)
    elif args.command == "apply":
        apply(args.codes, args.source, args.target)
    else:
        train(args)


if __name__ == "__main__":
    command.run_part(main)
