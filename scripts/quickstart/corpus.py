"""The quick start's corpus: sentence pairs, cleaned, each side once, split into train, valid and test."""

import hashlib
import random
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from common import files, lines
from common.words import counted
from prepare import clean_pairs

Pair = tuple[str, str]

MIN_PAIRS = 20
MAX_CHARACTERS = 500


def read_text_pairs(source: Path, target: Path) -> list[Pair]:
    """Return the ``(source, target)`` pairs of two line-aligned files.

    Raises:
        SystemExit: a file cannot be read, is not UTF-8, or has more lines than the other.
    """
    texts = {}
    for option, path in (("--source-text", source), ("--target-text", target)):
        texts[f"{option} {path}"] = named(option, lines.read_lines(path))
    return list(lines.aligned(texts))


def named(option: str, text: Iterable[str]) -> Iterator[str]:
    """The lines; what is wrong with their file is said with the option's name before it."""
    try:
        yield from text
    except SystemExit as error:
        raise SystemExit(f"{option}: {error}") from error


def tidy(text: str) -> str:
    """Return ``text`` in Unicode NFC on one line; control characters and runs of whitespace become a space."""
    characters = unicodedata.normalize("NFC", text)
    return " ".join("".join(" " if unicodedata.category(c) == "Cc" else c for c in characters).split())


def key(text: str) -> str:
    """Return the words of ``text`` without case, digits and punctuation; equal keys mean duplicates.

    Combining marks belong to words: in Hindi, Tamil or vocalised Arabic they are what tells many of them apart.
    """
    return " ".join("".join(c if unicodedata.category(c)[0] in "LM" else " " for c in text.casefold()).split()) or text


def unfit(source: str, target: str) -> str | None:
    """Why a pair is of no use, or None."""
    if not (source and target):
        return "with an empty side"
    if max(len(source), len(target)) > MAX_CHARACTERS:
        return f"with more than {MAX_CHARACTERS} characters"
    if key(source) == key(target):
        return "with the same text on both sides"
    return None


def clean(pairs: Iterable[Pair]) -> tuple[list[Pair], Counter[str]]:
    """Keep what is fit, and the first of the pairs that share a source key or a target key.

    Comparing each side alone, before the split, is what keeps every valid and test sentence out of train.

    Returns:
        the pairs, tidied, and how many were dropped for which reason.
    """
    seen, kept, dropped = (set(), set()), [], Counter()
    for pair in pairs:
        pair = tuple(map(tidy, pair))
        reason = unfit(*pair)
        keys = tuple(map(key, pair))
        if not reason and any(side in sides for side, sides in zip(keys, seen, strict=True)):
            reason = "that repeat an earlier source or target"
        if reason:
            dropped[reason] += 1
            continue
        kept.append(pair)
        for side, sides in zip(keys, seen, strict=True):
            sides.add(side)
    return kept, dropped


def split_pairs(pairs: Sequence[Pair], held_out: int, seed: int) -> dict[str, list[Pair]]:
    """Shuffle by ``seed`` and return ``{"valid": ..., "test": ..., "train": ...}``.

    ``held_out`` pairs go to valid and to test each, fewer (a tenth) when the corpus is small.
    """
    shuffled = list(pairs)
    random.Random(seed).shuffle(shuffled)
    size = min(held_out, len(pairs) // 10)
    return {
        "valid": shuffled[:size],
        "test": shuffled[size : 2 * size],
        "train": shuffled[2 * size :],
    }


def write_corpus(
    splits: Mapping[str, Sequence[Pair]], languages: Sequence[str], out: Path, origin: str, dropped: Mapping[str, int]
) -> None:
    """Write every split's two files and ``corpus.json``, which describes them, last."""
    files.output_folder(out)
    written = {}
    for split, pairs in splits.items():
        for language, side in zip(languages, zip(*pairs, strict=True), strict=True):
            text = "".join(f"{line}\n" for line in side)
            files.write_text(out / f"{split}.{language}", text)
            checksum = hashlib.sha256(text.encode()).hexdigest()
            written[f"{split}.{language}"] = {"lines": len(side), "sha256": checksum}
    files.write_json(out / "corpus.json", {"origin": origin, "dropped": dict(dropped), "files": written})


def make(pairs: Sequence[Pair], languages: Sequence[str], out: Path, origin: str, held_out: int = 500) -> None:
    """Clean and split pairs, write them to ``out``, and say what was dropped and what is left.

    Raises:
        SystemExit: fewer than MIN_PAIRS are left.
    """
    kept, dropped = clean(pairs)
    print(f"{counted(len(pairs), 'pair')} from {origin}; dropped {clean_pairs.report(dropped) or 'none'}.")
    if len(kept) < MIN_PAIRS:
        raise SystemExit(f"{origin}: {counted(len(kept), 'distinct pair')} of {len(pairs)} left; it takes {MIN_PAIRS}.")
    splits = split_pairs(kept, held_out, seed=1)
    write_corpus(splits, languages, out, origin, dropped)
    sizes = ", ".join(f"{len(splits[split]):,} {split}" for split in ("train", "valid", "test"))
    print(f"Left: {sizes}.")
