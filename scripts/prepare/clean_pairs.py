"""Drop the sentence pairs that Moses' clean-corpus-n drops, and set every Nth of the others aside for validation.

Reads PREFIX.LANG of two languages and writes the pairs that are kept to ``--train`` PREFIX. With ``--every N`` every
Nth of them goes to ``--valid`` instead, and the same lines of ``--plain`` to ``--valid-plain``. Says how many were
dropped, and why.
"""

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import TextIO

from common import arguments, command, lines
from common.words import counted

LONGEST_WORD = 1000


def fault(source: str, target: str, longest: int, ratio: float) -> str | None:
    """Why a pair is dropped: its sentences have no word or too many, lengths too different, or a huge word; or None."""
    sides = source.split(), target.split()
    shorter, longer = sorted(map(len, sides))
    if shorter < 1:
        return "with an empty side"
    if longer > longest:
        return f"of more than {counted(longest, 'token')}"
    if longer / shorter > ratio:
        return f"of lengths beyond 1 to {ratio:g}"
    if any(len(word) > LONGEST_WORD for side in sides for word in side):
        return f"with a word of more than {LONGEST_WORD} characters"
    return None


def report(faults: Counter[str]) -> str:
    """How many pairs were dropped for what, as text; empty for none."""
    return ", ".join(f"{count:,} {why}" for why, count in faults.most_common())


def read(prefixes: Sequence[str], languages: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield tuples of aligned lines: the files of the first prefix, one a language, then those of the next."""
    names = [f"{prefix}.{language}" for prefix in prefixes for language in languages]
    return lines.aligned({name: lines.read_lines(name) for name in names})


def require_some(pairs: str, train: int, faults: Counter[str]) -> None:
    """One sentence and an end if all pairs were dropped."""
    if not train:
        raise SystemExit(f"{pairs}: no sentence pair is left ({report(faults)}); are the two files aligned?")


def outcome(train: int, valid: int, faults: Counter[str]) -> str:
    """How many pairs went where, as text."""
    told = f"{train + valid + faults.total():,} sentence pairs: {train:,} for training, {valid:,} set aside."
    return f"{told}\nDropped: {report(faults)}." if faults else told


def clean(args: argparse.Namespace) -> tuple[int, int, Counter[str]]:
    """Write the output files; return the numbers of pairs for training, for validation, and dropped for each fault."""
    train_count = valid_count = 0
    faults: Counter[str] = Counter()
    with ExitStack() as stack:

        def outputs(*prefixes: str | None) -> list[TextIO]:
            names = [f"{prefix}.{language}" for prefix in prefixes if prefix for language in args.languages]
            return [stack.enter_context(lines.writing(name)) for name in names]

        train, valid = outputs(args.train), outputs(args.valid, args.valid_plain)
        for row in read([args.pairs, *([args.plain] if args.plain else [])], args.languages):
            if why := fault(*row[:2], args.longest, args.ratio):
                faults[why] += 1
                continue
            held_out = args.every and (train_count + valid_count + 1) % args.every == 0
            valid_count += bool(held_out)
            train_count += not held_out
            for file, line in zip(valid if held_out else train, row):
                file.write(f"{line}\n")
        require_some(args.pairs, train_count, faults)
    return train_count, valid_count, faults


def add_limits(parser: argparse.ArgumentParser) -> None:
    """Add the options that ``fault`` needs."""
    parser.add_argument("--longest", type=arguments.at_least(1), required=True, help="words of a sentence at most")
    parser.add_argument("--ratio", type=arguments.ratio, default=1.5, help="of the two lengths at most (default: 1.5)")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", metavar="PREFIX", help="tokenised sentence pairs")
    parser.add_argument("--languages", nargs=2, required=True, metavar=("SOURCE", "TARGET"))
    add_limits(parser)
    parser.add_argument("--train", required=True, metavar="PREFIX")
    parser.add_argument("--every", type=arguments.at_least(1), metavar="N")
    parser.add_argument("--valid", metavar="PREFIX")
    parser.add_argument("--plain", metavar="PREFIX", help="the same pairs before they were tokenised")
    parser.add_argument("--valid-plain", metavar="PREFIX")
    print(outcome(*clean(parser.parse_args())))


if __name__ == "__main__":
    command.run_part(main)
