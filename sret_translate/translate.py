"""Translate text with a bundle of export_onnx.py: one line in, one translation out.

Needs onnxruntime, numpy and sentencepiece. Lines are translated in batches of similar lengths and come back in order.
"""

import argparse
import contextlib
import logging
import os
import signal
import sys
import tempfile
import time
from typing import BinaryIO, Iterator, List, Optional, Tuple

from sret_translate.errors import BundleError, require
from sret_translate.translator import Hypothesis, Translator

MOST_THREADS = 1024
BATCHES_AT_ONCE = 32  # are read before the first of them is translated, so that lines of similar lengths meet


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument("model", help="folder of a bundle; or, where fairseq is installed, a checkpoint, with --data")
    result.add_argument("input", nargs="?", help="file of UTF-8 text (default: standard input)")
    result.add_argument("--beam", type=int, default=5, help="beam size (default: 5)")
    result.add_argument(
        "--nbest", type=int, default=1, help="print so many translations, each behind its line's number"
    )
    result.add_argument("--lenpen", type=float, default=1.0, help="length penalty, as in fairseq (default: 1)")
    result.add_argument("--max-len-a", type=float, default=0.0, metavar="A", help="a translation has at most ...")
    result.add_argument(
        "--max-len-b", type=int, default=200, metavar="B", help="... A * source + B tokens (default: 200)"
    )
    result.add_argument("--batch-size", type=int, default=32, help="sentences translated together (default: 32)")
    result.add_argument("--threads", type=int, default=1, help="threads of onnxruntime (default: 1)")
    result.add_argument("--passes", type=int, help="passes of each block, where the bundle holds several numbers")
    result.add_argument("--scores", action="store_true", help="print the score and a tab before each translation")
    result.add_argument("--data", metavar="FOLDER", help="of a checkpoint: the folder of fairseq-preprocess")
    result.add_argument("--sentencepiece", metavar="MODEL", help="of a checkpoint: the SentencePiece model")
    result.add_argument("--bpe-codes", metavar="CODES", help="of a checkpoint: the codes of subword-nmt")
    result.add_argument("--moses", nargs="*", metavar="OPTION", help="of a checkpoint: as of export_onnx.py")
    return result


def lines(file: BinaryIO, name: str) -> Iterator[str]:
    """The lines of a file, without their ends.

    Raises:
        BundleError: a line is not UTF-8.
    """
    for number, line in enumerate(file, 1):
        try:
            yield line.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise BundleError(
                f"{name}, line {number}: byte {error.start + 1} is not UTF-8; convert the text, for example with iconv."
            ) from error


def groups(texts: Iterator[str], size: int) -> Iterator[List[str]]:
    """Lists of at most ``size`` lines. What was read before a line that is not UTF-8 is still translated."""
    group: List[str] = []
    try:
        for text in texts:
            group.append(text)
            if len(group) == size:
                yield group
                group = []
    except BundleError:
        if group:
            yield group
        raise
    if group:
        yield group


def printed(number: int, found: List[Hypothesis], nbest: int, scores: bool) -> str:
    """What is printed for a line."""
    rows = []
    for hypothesis in found[:nbest]:
        parts = [str(number)] if nbest > 1 else []
        parts += [f"{hypothesis.score:.4f}"] if scores else []
        rows.append("\t".join([*parts, hypothesis.text]) + "\n")
    return "".join(rows)


def show(done: int, since: float) -> None:
    """Progress on a terminal."""
    sys.stderr.write(f"\r{done:,} line{'' if done == 1 else 's'}, {done / (time.monotonic() - since):.0f} a second ")
    sys.stderr.flush()


def translate(translator: Translator, file: BinaryIO, name: str, args: argparse.Namespace) -> None:
    """Translate a file to standard output."""
    terminal, since, number = sys.stderr.isatty(), time.monotonic(), 0
    size = 1 if file.isatty() else args.batch_size * BATCHES_AT_ONCE
    settings = {key: getattr(args, key) for key in ("beam", "lenpen", "max_len_a", "max_len_b")}
    for group in groups(lines(file, name), size):
        for found in translator.hypotheses(group, args.batch_size, **settings):
            number += 1
            sys.stdout.write(printed(number, found, args.nbest, args.scores))
        sys.stdout.flush()
        if terminal and size > 1:
            show(number, since)
    if terminal and size > 1:
        sys.stderr.write("\n")


@contextlib.contextmanager
def bundle_of(args: argparse.Namespace) -> Iterator[str]:
    """The folder of the bundle; a checkpoint is exported into a temporary one.

    Raises:
        BundleError: there is no such model, or fairseq is missing.
    """
    if not os.path.isfile(args.model):
        require(os.path.isdir(args.model), f"{args.model} does not exist; give the folder of a bundle.")
        for name in ("data", "sentencepiece", "bpe_codes", "moses"):
            option = f"--{name.replace('_', '-')}"
            require(
                getattr(args, name) is None, f"{option} is of a checkpoint, and {args.model} a bundle; leave it out."
            )
        yield args.model
        return
    require(args.data is not None, f"{args.model} is a file: of a checkpoint give the data folder too, --data FOLDER.")
    logging.disable(logging.INFO)  # which fairseq would say about its options
    try:
        from sret_fairseq.export.bundle import Text, export
    except ImportError as error:
        raise BundleError(f"a checkpoint needs fairseq, torch and onnx, and {error.name} is not installed.") from error
    with tempfile.TemporaryDirectory() as folder:
        text = Text(args.sentencepiece, args.bpe_codes, args.moses)
        export(args.model, args.data, os.path.join(folder, "bundle"), text)
        yield os.path.join(folder, "bundle")


def check(args: argparse.Namespace) -> None:
    """Refuse numbers that cannot be used."""
    for name in ("beam", "batch_size", "threads"):
        value = getattr(args, name)
        require(value >= 1, f"--{name.replace('_', '-')} {value} must be 1 or more.")
    require(args.threads <= MOST_THREADS, f"--threads {args.threads} must be at most {MOST_THREADS}.")
    require(1 <= args.nbest <= args.beam, f"--nbest {args.nbest} must be from 1 to --beam, {args.beam}.")


def opened(path: Optional[str]) -> Tuple[BinaryIO, str]:
    """The input, and its name for messages."""
    if path is None:
        return sys.stdin.buffer, "standard input"
    try:
        return open(path, "rb"), path
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}.") from error


def main() -> None:
    """Run the command line."""
    args = parser().parse_intermixed_args()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that a temporary bundle goes
    sys.stdout.reconfigure(encoding="utf-8")
    try:
        check(args)
        file, name = opened(args.input)
        with bundle_of(args) as folder, file:
            translate(Translator(folder, args.threads, args.passes), file, name, args)
    except BrokenPipeError:  # end quietly with whoever reads the translations
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # where what is still in the buffer goes
        sys.exit(128 + 13)  # as the signal SIGPIPE would have it
    except (BundleError, OSError) as error:
        sys.exit(f"sret-translate: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
