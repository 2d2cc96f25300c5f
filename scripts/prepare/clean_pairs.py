"""Drop the sentence pairs that Moses' clean-corpus-n drops, and set every Nth of the others aside for validation.

Reads PREFIX.LANG of two languages and writes the pairs that are kept to ``--train`` PREFIX. With ``--every N`` every
Nth of them goes to ``--valid`` instead, and the same lines of ``--plain`` to ``--valid-plain``.
"""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import TextIO

from common import command, lines

LONGEST_WORD = 1000


def keeps(source: str, target: str, longest: int, ratio: float) -> bool:
    """Whether both sentences have from 1 to ``longest`` words, none of them huge, and lengths within ``ratio``."""
    words = source.split(), target.split()
    shorter, longer = sorted(map(len, words))
    if shorter < 1 or longer > longest or longer / shorter > ratio:
        return False
    return all(len(word) <= LONGEST_WORD for side in words for word in side)


def read(prefixes: Sequence[str], languages: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield tuples of aligned lines: the files of the first prefix, one a language, then those of the next."""
    names = [f"{prefix}.{language}" for prefix in prefixes for language in languages]
    return lines.aligned({name: lines.read_lines(name) for name in names})


def clean(args: argparse.Namespace) -> dict[str, int]:
    """Write the output files; return the numbers of pairs read, kept for training, and kept for validation."""
    counts = {"read": 0, "train": 0, "valid": 0}
    with ExitStack() as stack:

        def outputs(*prefixes: str | None) -> list[TextIO]:
            names = [f"{prefix}.{language}" for prefix in prefixes if prefix for language in args.languages]
            return [stack.enter_context(lines.writing(name)) for name in names]

        train, valid = outputs(args.train), outputs(args.valid, args.valid_plain)
        for row in read([args.pairs, *([args.plain] if args.plain else [])], args.languages):
            counts["read"] += 1
            if not keeps(*row[:2], args.longest, args.ratio):
                continue
            held_out = args.every and (counts["train"] + counts["valid"] + 1) % args.every == 0
            counts["valid" if held_out else "train"] += 1
            for file, line in zip(valid if held_out else train, row):
                file.write(f"{line}\n")
        if not counts["train"]:
            raise SystemExit(f"{args.pairs}: no sentence pair is left of {counts['read']}; are the two files aligned?")
    return counts


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", metavar="PREFIX", help="tokenised sentence pairs")
    parser.add_argument("--languages", nargs=2, required=True, metavar=("SOURCE", "TARGET"))
    parser.add_argument("--longest", type=int, required=True, help="words of a sentence at most")
    parser.add_argument("--ratio", type=float, default=1.5, help="of the two lengths at most (default: 1.5)")
    parser.add_argument("--train", required=True, metavar="PREFIX")
    parser.add_argument("--every", type=int, metavar="N")
    parser.add_argument("--valid", metavar="PREFIX")
    parser.add_argument("--plain", metavar="PREFIX", help="the same pairs before they were tokenised")
    parser.add_argument("--valid-plain", metavar="PREFIX")
    args = parser.parse_args()
    counts = clean(args)
    print("{read} sentence pairs: {train} for training, {valid} set aside, the rest dropped.".format(**counts))


if __name__ == "__main__":
    command.run_part(main)
