"""Train one SentencePiece model for both languages of a corpus and segment every split with it.

Reads ``{train,valid,test}.LANG`` from ``--corpus``; writes ``sentencepiece.model`` and the same names, segmented,
into ``--out``. The model is trained on train alone.
"""

import argparse
from pathlib import Path

import sentencepiece

SPLITS = ("train", "valid", "test")


def train_model(files, prefix, vocabulary):
    """Train a unigram model; its vocabulary gets smaller by itself when the text is too small for it."""
    try:
        sentencepiece.SentencePieceTrainer.train(
            input=[str(file) for file in files],
            model_prefix=str(prefix),
            vocab_size=vocabulary,
            hard_vocab_limit=False,
            character_coverage=1.0,
            minloglevel=1,
        )
    except RuntimeError as error:  # SentencePiece's C++ errors: too few pieces for the text's characters
        raise SystemExit(
            f"--vocabulary: SentencePiece could not make {vocabulary} pieces from {files[0].parent}: {error}"
        ) from error
    return sentencepiece.SentencePieceProcessor(model_file=f"{prefix}.model")


def segment(model, source, target):
    """Write every line of ``source`` to ``target`` as pieces separated by spaces."""
    lines = source.read_text(encoding="utf-8").splitlines()
    pieces = model.encode(lines, out_type=str)
    target.write_text("".join(" ".join(line) + "\n" for line in pieces), encoding="utf-8")


def main():
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True, help="folder with train, valid and test")
    parser.add_argument("--languages", nargs=2, required=True, metavar=("SOURCE", "TARGET"))
    parser.add_argument("--vocabulary", type=int, default=4000, help="pieces at most (default: 4000)")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    model = train_model(
        [args.corpus / f"train.{language}" for language in args.languages],
        args.out / "sentencepiece",
        args.vocabulary,
    )
    for split in SPLITS:
        for language in args.languages:
            segment(model, args.corpus / f"{split}.{language}", args.out / f"{split}.{language}")
    print(f"SentencePiece: {model.vocab_size()} pieces for both languages.")


if __name__ == "__main__":
    main()
