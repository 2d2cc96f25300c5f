"""Write a trained sret_transformer as a bundle: a folder that translates without torch and fairseq.

The graphs are compared with the model on the spot, and nothing is written unless they agree. Translate with
``sret-translate FOLDER``, or with ``python FOLDER/translate.py FOLDER``, which needs onnxruntime, numpy and
sentencepiece. Needs the extra ``export`` of this package: onnx and onnxruntime.
"""

import argparse
from pathlib import Path

from common import arguments, checkpoints, command, loading

PIECES = "sentencepiece.model"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument("checkpoint", type=arguments.path, help="checkpoint of sret_transformer")
    result.add_argument("data", type=arguments.path, help="folder of fairseq-preprocess")
    result.add_argument(
        "--out", type=arguments.path, required=True, metavar="FOLDER", help="the bundle; another one is replaced"
    )
    result.add_argument(
        "--sentencepiece",
        type=arguments.path,
        metavar="MODEL",
        help="the SentencePiece model of the training's text (default: DATA/sentencepiece.model where there is one; "
        "without one the bundle reads text that is in pieces)",
    )
    result.add_argument("--bpe-codes", type=arguments.path, metavar="CODES", help="the codes of subword-nmt, instead")
    result.add_argument(
        "--moses",
        nargs="*",
        metavar="OPTION",
        help="with --bpe-codes: the training's text was tokenised as Moses does it, and the bundle takes plain text, "
        "for which it needs sacremoses; options of the recipes: lower (IWSLT14, small corpora), aggressive apostrophes "
        "(WMT14)",
    )
    result.add_argument(
        "--passes",
        type=int,
        nargs="+",
        metavar="R",
        help="passes of each block; with several numbers one can be chosen when translating (default: those trained)",
    )
    result.add_argument("--int8", action="store_true", help="weights in 8 bits: a quarter of the size, and faster")
    return result


def main() -> None:
    """Run the command line."""
    args = parser().parse_args()
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise SystemExit(f"{error.name} is not installed; pip install '.[export]' in a checkout.") from error
    if args.sentencepiece is None and args.bpe_codes is None and (args.data / PIECES).is_file():
        args.sentencepiece = args.data / PIECES
    if ":" in str(args.checkpoint) and not args.checkpoint.exists():
        raise SystemExit(
            f"{args.checkpoint} names several checkpoints, and a bundle holds one: average those of one training with "
            f"scripts/average_checkpoints.py, or export the best."
        )
    model, task = loading.load(args.checkpoint, args.data)
    from sret_fairseq.export import bundle

    training = {"updates": checkpoints.updates_of(checkpoints.load(args.checkpoint), args.checkpoint)}
    text = bundle.Text(args.sentencepiece, args.bpe_codes, args.moses)
    config = bundle.write(model, task, args.out, text, args.passes, args.int8, training)
    print(report(args.out, config))


def report(out: Path, config: dict) -> str:
    """What was written."""
    size = sum(length for length, _ in config["files"].values())
    agreement = f"log-probabilities within {config['largest_deviation']:.1e} of the model's"
    if config["int8"]:
        agreement += f", the same best token in {100 * config['same_best']:.1f}% of the places"
    return f"{out}: {size / 2**20:.1f} MiB, {config['parameters']:,} parameters; {agreement}."


if __name__ == "__main__":
    command.run(main)
