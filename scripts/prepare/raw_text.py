"""Copy {train,valid,test}.LANG (or .LANG.gz) from a folder, check that they are aligned, and see if they are tokenised.

Writes the texts, with train called ``pairs`` since it is yet to be cleaned, and the file ``tokenised`` (``yes``, ``no``
or, with --take-bpe, ``bpe``) into ``--out``. Text in pieces is refused otherwise: it would be divided once more, and
the references would hold the marks.
"""

import argparse
import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from common import arguments, command, lines
from common.words import counted

SPLITS = ("train", "valid", "test")
SAMPLE = 20000
ESCAPE = re.compile(r"&(apos|quot|amp|lt|gt|#91|#93|#124);")
# Final marks of many scripts: full width, Hindi's danda, Arabic's question mark and Urdu's full stop.
APART = re.compile(r"(^|\s)[.!?\u3002\uff01\uff1f\u0964\u061f\u06d4]\s*$")
ATTACHED = re.compile(r"[^\s.!?][.!?\u3002\uff01\uff1f\u0964\u061f\u06d4]\s*$")
MOST = 0.9
# Marks of text in pieces, of which one line in so many or more has one.
BPE, SENTENCEPIECE = "@@ ", "\u2581"
LINES_PER_MARK = 20


def find(folder: Path, name: str) -> Path:
    """Return the path of a text in a folder, gzipped or not."""
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise SystemExit(f"--raw: {folder} has neither {name} nor {name}.gz.")


def has_mark(path: Path, mark: str) -> bool:
    """Whether a text is in pieces, by their mark."""
    marked = total = 0
    for line in lines.read_lines(path):
        total += 1
        marked += mark in f"{line} "
    return 0 < total <= marked * LINES_PER_MARK


def in_bpe(folder: Path, paths: Sequence[Path], take: bool) -> bool:
    """Whether all texts are in BPE; one sentence and an end for any pieces where they are not to be taken."""
    for path in paths:
        if has_mark(path, SENTENCEPIECE):
            raise SystemExit(f"prepare: --raw: {path} is in pieces of SentencePiece (\u2581); give the text itself.")
    marked = [path.name for path in paths if has_mark(path, BPE)]
    if marked and not take:
        raise SystemExit(
            f"prepare: --raw: {folder / marked[0]} is in BPE (@@), which this recipe learns itself; put the words "
            f"together (sed 's/@@ //g'), or take examples/small_corpora/prepare.sh."
        )
    if 0 < len(marked) < len(paths):
        raise SystemExit(
            f"prepare: --raw: of {folder} only {', '.join(marked)} has BPE's marks (@@); segment all texts or none."
        )
    return bool(marked)


def looks_tokenised(path: Path) -> bool | None:
    """Return True, False or None (in doubt) for a text, and print what that rests on.

    Final marks that nearly always stand apart from the word before them show it. Text with too few such marks is
    taken as tokenised when it has Moses' escapes (which web text may have too, so they alone decide nothing else).
    """
    apart = attached = escaped = total = 0
    for line in islice(lines.read_lines(path), SAMPLE):
        total += 1
        apart += bool(APART.search(line))
        attached += bool(ATTACHED.search(line))
        escaped += bool(ESCAPE.search(line))
    marks = apart + attached
    share = apart / marks if marks else 0.0
    decision = None
    if 10 * marks >= total:
        decision = True if share >= MOST else False if share <= 1 - MOST else None
    elif escaped:
        decision = True
    taken = {True: "tokenised", False: "not tokenised", None: "in doubt"}[decision]
    print(
        f"{path.name}: of {counted(total, 'line')} {marks} end in . ! ? or the like, {share:.0%} of them standing "
        f"apart; {counted(escaped, 'line')} with Moses' escapes: {taken}."
    )
    return decision


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=arguments.path)
    parser.add_argument("--languages", nargs=2, required=True, metavar=("SOURCE", "TARGET"))
    parser.add_argument("--tokenised", choices=("yes", "no"), help="do not look at the text, take it so")
    parser.add_argument("--take-bpe", action="store_true", help="take text in BPE as it is")
    parser.add_argument("--out", type=arguments.path, required=True, help="folder to write")
    args = parser.parse_args()
    paths = {(split, la): find(args.folder, f"{split}.{la}") for split in SPLITS for la in args.languages}
    tokenised = "bpe" if in_bpe(args.folder, list(paths.values()), args.take_bpe) else args.tokenised
    if not tokenised:
        decisions = {looks_tokenised(paths["train", language]) for language in args.languages}
        if len(decisions) > 1 or None in decisions:
            raise SystemExit(f"--raw: it is not clear whether {args.folder} is tokenised; say --tokenised yes or no.")
        tokenised = "yes" if decisions.pop() else "no"
    for split in SPLITS:
        name = "pairs" if split == "train" else split
        outputs = [args.out / f"{name}.{la}" for la in args.languages]
        texts = {paths[split, la]: lines.read_lines(paths[split, la]) for la in args.languages}
        print(f"{split}: {counted(lines.write_aligned(outputs, texts), 'pair')}")
    with lines.writing(args.out / "tokenised") as file:
        file.write(f"{tokenised}\n")


if __name__ == "__main__":
    command.run_part(main)
