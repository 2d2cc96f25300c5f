"""Tokenise a file line by line as Moses does: with sacremoses, or with Moses itself when MOSES names its folder.

The options are the steps that published recipes take besides. What comes out has words separated by single spaces.
"""

import argparse
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import regex

from common import arguments, command, lines
from prepare import sparing

Step = Callable[[list[str]], list[str]]  # from lines to as many lines

MOSES = os.environ.get("MOSES")
# Moses takes the stop at the end of a line for the sentence's even behind an abbreviation or a number; sacremoses does
# not. The published data are as Moses does it.
FINAL_STOP = re.compile(r"(?<=[^\s.])\.$")


def moses(script: str, *options: str) -> Step:
    """Return a function that sends lines through one of Moses' Perl scripts."""
    path = Path(MOSES) / "scripts" / "tokenizer" / script
    if not path.is_file():
        raise SystemExit(f"MOSES: {path} does not exist; name the folder of mosesdecoder, or unset it for sacremoses.")

    def apply(batch: list[str]) -> list[str]:
        text = "".join(f"{line}\n" for line in batch)
        run = subprocess.run(["perl", path, *options], input=text.encode(), capture_output=True)
        if run.returncode:
            raise SystemExit(f"{path} failed: {run.stderr.decode(errors='replace').strip().splitlines()[-1:]}")
        return run.stdout.decode().removesuffix("\n").split("\n")

    return apply


def line_by_line(function: Callable[[str], str]) -> Step:
    """Return a function of lines that applies a function of one line to each."""
    return lambda batch: [function(line) for line in batch]


def normaliser(language: str) -> Step:
    """Return the function that writes punctuation in one way, with the Perl script's own peculiarities."""
    if MOSES:
        return moses("normalize-punctuation.perl", "-l", language)
    normalizer = sparing.PunctNormalizer(language, perl_parity=True)
    # The Perl script's rule for ." looks at the character behind, and sees the line feed where sacremoses sees nothing.
    return line_by_line(lambda line: normalizer.normalize(f"{line}\n"))


def tokeniser(language: str, aggressive: bool) -> Step:
    """Return the function that separates words and punctuation; ``aggressive`` splits at hyphens too (``@-@``)."""
    if MOSES:
        return moses("tokenizer.perl", "-q", "-l", language, *(["-a"] if aggressive else []))
    tokenizer = sparing.Tokenizer(language)

    def apply(line: str) -> str:
        words = tokenizer.tokenize(line, aggressive_dash_splits=aggressive, return_str=True)
        return FINAL_STOP.sub(" .", words)

    return line_by_line(apply)


def steps(args: argparse.Namespace) -> list[Step]:
    """Return the functions that the options ask for, in order."""
    chosen = []
    if args.apostrophes:
        chosen.append(line_by_line(lambda line: line.replace("\u2019", "'")))
    if args.normalise:
        # Unassigned and control characters become spaces, so that a line break among them cannot cut a line.
        chosen += [normaliser(args.language), line_by_line(lambda line: regex.sub(r"\p{C}", " ", line))]
    if not args.tokenised:
        chosen.append(tokeniser(args.language, args.aggressive))
    if args.lower:
        chosen.append(line_by_line(str.lower))
    return [*chosen, line_by_line(lambda line: " ".join(line.split()))]


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=arguments.path, help="plain text, one sentence a line")
    parser.add_argument("target", type=arguments.path, help="file to write")
    parser.add_argument("--language", required=True)
    parser.add_argument("--apostrophes", action="store_true", help="first write typographic apostrophes as ASCII's")
    parser.add_argument("--normalise", action="store_true", help="first write punctuation in one way")
    parser.add_argument("--tokenised", action="store_true", help="the text is tokenised already")
    parser.add_argument("--aggressive", action="store_true", help="split words at hyphens, marking them @-@")
    parser.add_argument("--lower", action="store_true", help="then write everything in lower case")
    args = parser.parse_args()
    chosen = steps(args)

    def apply(batch: list[str]) -> list[str]:
        for function in chosen:
            batch = function(batch)
        return batch

    lines.map_lines(apply, args.source, args.target)


if __name__ == "__main__":
    command.run_part(main)
