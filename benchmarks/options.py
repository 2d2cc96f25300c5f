"""The options of all benchmarks. Imports no torch: --help needs none, and the number of threads can still be set."""

import argparse
import os
import time
from pathlib import Path
from typing import List

from common import arguments, output

BENCHMARKS = {
    "train": "training tokens/s",
    "operations": "operations and host synchronisations, counted, of training and translating",
    "memory": "peak memory of a training step",
    "activations": "the same by virtual depth, with and without --checkpoint-activations",
    "decode": "sentences/s of beam search",
    "deploy": "the same by processor time, without fairseq: a bundle, and CTranslate2",
    "length": "the encoder, sliced and unsliced, by source length",
    "attention": "what cuDNN's attention does on a GPU: for known shapes, and for new ones",
    "depth": "cost by the number of passes",
}
# Options that a benchmark has no use for: given, they are refused.
UNUSED = {
    "operations": ("device", "pairs", "sizes", "only", "limit"),
    "activations": ("pairs", "only", "limit"),
    "deploy": ("device", "only", "limit"),
    "length": ("only",),
    "attention": ("pairs", "only", "limit"),
    "depth": ("only", "limit"),
}
SIZES = ("tiny", "base", "big")
REPOSITORY = Path(__file__).resolve().parent.parent


def parse(words: List[str]) -> argparse.Namespace:
    """Read the command line; the defaults depend on the device and on --quick."""
    parser = argparse.ArgumentParser(
        prog="benchmarks/run.sh",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Measures sret_transformer. train, operations, memory, decode and deploy compare it (B) with "
        "fairseq's\ntransformer (A), both of virtual depth 6+6 and of the same width; the others vary what they name. "
        "Prints\na table; writes all samples as JSON, and a picture.\n\n"
        + "\n".join(f"  {name:11} {text}" for name, text in BENCHMARKS.items()),
        epilog="Environment variables: VENV, PYTHON and TORCH, see scripts/setup.sh --help.",
    )
    parser.add_argument("benchmark", choices=BENCHMARKS, metavar="|".join(BENCHMARKS))
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default: cpu; cuda computes in bf16")
    parser.add_argument("--quick", action="store_true", help="a run of less than a minute: that it works, not how fast")
    parser.add_argument(
        "--pairs",
        type=arguments.at_least(1),
        help="measured pairs A B (default: 7; on cuda 3, of memory 1; with --quick 1)",
    )
    parser.add_argument(
        "--limit",
        type=arguments.at_least(1),
        metavar="SECONDS",
        help="begin nothing that may end later; what is left out is named (default: none; on cuda 60)",
    )
    parser.add_argument(
        "--sizes",
        type=sizes,
        help=f"of {','.join(SIZES)}, widths 128/256, 512/2048 and 1024/4096 "
        "(default: tiny,base; on cuda base,big; with --quick tiny)",
    )
    parser.add_argument(
        "--threads",
        type=arguments.at_least(1),
        help="threads of torch (default: OMP_NUM_THREADS, or 1); of one the processor's time is measured",
    )
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="VARIANT",
        help="of train, decode, memory: these variants alone, such as 'no NLL'; a name that is none of them lists all",
    )
    parser.add_argument(
        "--out", type=arguments.path, default=REPOSITORY / "runs/benchmarks", help="default: runs/benchmarks"
    )
    settings = parser.parse_args(words)

    for name in UNUSED.get(settings.benchmark, ()):
        if getattr(settings, name) not in (None, parser.get_default(name)):
            parser.error(f"{settings.benchmark} has no use for --{name}; leave it out.")
    if settings.limit and (settings.benchmark, settings.device) == ("memory", "cpu"):
        parser.error("memory has no use for --limit on a CPU, where it measures in turn; leave it out.")
    output.picture_folder(settings.out)
    settings.words = words
    settings.begun, settings.left_out = time.monotonic(), []
    if settings.device == "cuda":
        settings.limit = settings.limit or 60
        settings.pairs = settings.pairs or (1 if settings.quick or settings.benchmark == "memory" else 3)
    settings.pairs = settings.pairs or (1 if settings.quick else 7)
    usual = ["tiny"] if settings.quick else ["base", "big"] if settings.device == "cuda" else ["tiny", "base"]
    settings.sizes = settings.sizes or usual
    try:
        settings.threads = settings.threads or arguments.at_least(1)(os.environ.get("OMP_NUM_THREADS") or "1")
    except argparse.ArgumentTypeError as error:
        parser.error(f"environment variable OMP_NUM_THREADS: {error}")
    return settings


def chosen(variants: dict, settings: argparse.Namespace) -> dict:
    """The variants that --only names, or all.

    Raises:
        SystemExit: --only names none that there is.
    """
    unknown = [name for name in settings.only or [] if name not in variants]
    if unknown:
        raise SystemExit(f"benchmarks: --only {unknown[0]!r} is none of {', '.join(map(repr, variants))}.")
    return {name: value for name, value in variants.items() if not settings.only or name in settings.only}


def sizes(text: str) -> List[str]:
    """Names of sizes, separated by commas."""
    names = text.split(",")
    for name in names:
        if name not in SIZES:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(SIZES)}")
    return names
