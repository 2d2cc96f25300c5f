"""Make a line-aligned corpus: read sentence pairs, clean, de-duplicate, split into train, valid and test.

The pairs come from the user's own text (``--source-text`` and ``--target-text``) or, by default, from the
interface translations inside a pinned Python wheel that pip downloads. Writes ``{train,valid,test}.LANG`` and
``corpus.json`` (counts and checksums) into ``--out``.
"""

import argparse
import codecs
import hashlib
import random
import re
import unicodedata
from pathlib import Path

from common import files
from quickstart import home_assistant

MIN_PAIRS = 20
MAX_CHARACTERS = 500


def read_lines(path, option):
    """Return the lines of a UTF-8 file, or exit with one sentence that names the option, file and line."""
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise SystemExit(f"{option}: cannot read {path}: {error.strerror}.") from error
    if not raw.strip():
        raise SystemExit(f"{option}: {path} is empty; give a file with one sentence a line.")
    lines = []
    for number, line in enumerate(raw.removeprefix(codecs.BOM_UTF8).removesuffix(b"\n").split(b"\n"), 1):
        try:
            lines.append(line.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise SystemExit(
                f"{option}: {path}, line {number} is not UTF-8 (byte {error.start + 1}); convert the file, "
                f"for example with iconv -f latin1 -t utf-8."
            ) from error
        if not tidy(lines[-1]):
            raise SystemExit(f"{option}: {path}, line {number} is empty; remove it from both files.")
    return lines


def read_text_pairs(source_path, target_path):
    """Return the ``(source, target)`` pairs of two line-aligned files, every line of which must hold text."""
    sources = read_lines(source_path, "--source-text")
    targets = read_lines(target_path, "--target-text")
    if len(sources) != len(targets):
        raise SystemExit(
            f"--source-text and --target-text must be aligned line by line, but {source_path} has "
            f"{len(sources)} lines and {target_path} has {len(targets)}: line "
            f"{min(len(sources), len(targets)) + 1} has no partner."
        )
    return list(zip(sources, targets, strict=True))


def tidy(text):
    """Return ``text`` in Unicode NFC on one line; control characters and runs of whitespace become a space."""
    characters = unicodedata.normalize("NFC", text)
    return " ".join("".join(" " if unicodedata.category(c) == "Cc" else c for c in characters).split())


def key(text):
    """Return the words of ``text`` without case, digits and punctuation; equal keys mean duplicates."""
    return " ".join(re.findall(r"[^\W\d_]+", text.casefold())) or text


def unique_pairs(pairs):
    """Keep the first of the pairs that share a source key or a target key, and drop untranslated ones.

    Comparing each side alone, before the split, is what keeps every valid and test sentence out of train.
    Overlong pairs go too, so that every sentence fits into a batch.
    """
    sources, targets, kept = set(), set(), []
    for source, target in pairs:
        source_key, target_key = key(source), key(target)
        fits = len(source) <= MAX_CHARACTERS and len(target) <= MAX_CHARACTERS
        if fits and source_key != target_key and source_key not in sources and target_key not in targets:
            kept.append((source, target))
            sources.add(source_key)
            targets.add(target_key)
    return kept


def split_pairs(pairs, held_out, seed):
    """Shuffle by ``seed`` and return ``{"valid": ..., "test": ..., "train": ...}``.

    ``held_out`` pairs go to valid and to test each, fewer (a tenth) when the corpus is small.
    """
    if len(pairs) < MIN_PAIRS:
        raise SystemExit(
            f"The corpus holds {len(pairs)} distinct pairs after cleaning; it takes at least {MIN_PAIRS} to split."
        )
    shuffled = list(pairs)
    random.Random(seed).shuffle(shuffled)
    size = min(held_out, len(pairs) // 10)
    return {
        "valid": shuffled[:size],
        "test": shuffled[size : 2 * size],
        "train": shuffled[2 * size :],
    }


def write_corpus(splits, languages, out, origin):
    """Write every split's two files and ``corpus.json``, which describes them, last."""
    files.output_folder(out)
    written = {}
    for split, pairs in splits.items():
        for language, lines in zip(languages, zip(*pairs, strict=True), strict=True):
            text = "".join(f"{line}\n" for line in lines)
            files.write_text(out / f"{split}.{language}", text)
            checksum = hashlib.sha256(text.encode()).hexdigest()
            written[f"{split}.{language}"] = {"lines": len(lines), "sha256": checksum}
    files.write_json(out / "corpus.json", {"origin": origin, "files": written})


def parse_args(argv=None):
    """Return the command line's options; refuse impossible ones."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source-lang", default="de", help="source language (default: de)")
    parser.add_argument("--target-lang", default="en", help="target language (default: en)")
    parser.add_argument("--source-text", help="own text: one source sentence a line, UTF-8")
    parser.add_argument("--target-text", help="own text: the translation of each line of --source-text")
    parser.add_argument(
        "--download", type=Path, default=Path("download"), help="folder that keeps the downloaded wheel"
    )
    parser.add_argument("--held-out", type=int, default=500, help="pairs in valid and in test each (default: 500)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the split (default: 1)")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    args = parser.parse_args(argv)
    if bool(args.source_text) != bool(args.target_text):
        parser.error("--source-text and --target-text belong together: give both or neither.")
    if args.source_lang == args.target_lang:
        parser.error(f"--source-lang and --target-lang are both {args.source_lang}: give two languages.")
    if args.held_out < 1:
        parser.error(f"--held-out must be at least 1, not {args.held_out}.")
    return args


def main(argv=None):
    """Run the command line."""
    args = parse_args(argv)
    languages = (args.source_lang, args.target_lang)
    if args.source_text:
        origin = f"{args.source_text} and {args.target_text}"
        pairs = read_text_pairs(args.source_text, args.target_text)
    else:
        origin = f"the translations in {home_assistant.REQUIREMENT}"
        pairs = home_assistant.read_pairs(home_assistant.fetch(args.download), *languages)
    unique = unique_pairs((tidy(source), tidy(target)) for source, target in pairs)
    splits = split_pairs(unique, args.held_out, args.seed)
    write_corpus(splits, languages, args.out, origin)
    sizes = ", ".join(f"{len(splits[split])} {split}" for split in ("train", "valid", "test"))
    print(f"Corpus: {len(pairs)} pairs from {origin}; {len(unique)} without duplicates: {sizes}.")


if __name__ == "__main__":
    main()
