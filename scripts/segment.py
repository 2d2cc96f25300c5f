"""Train one SentencePiece model for both languages of a corpus and segment every split with it.

Reads ``{train,valid,test}.LANG`` from ``--corpus``; writes ``sentencepiece.model`` and the same names, segmented,
into ``--out``. The model is trained on train alone.
"""

import argparse
import tempfile
from pathlib import Path

import sentencepiece

from common import command, lines

SPLITS = ("train", "valid", "test")


def train_model(files, out, vocabulary):
    """Train a unigram model; its vocabulary gets smaller by itself when the text is too small for it."""
    try:
        with tempfile.TemporaryDirectory(dir=out) as folder:
            sentencepiece.SentencePieceTrainer.train(
                input=[str(file) for file in files],
                model_prefix=f"{folder}/sentencepiece",
                vocab_size=vocabulary,
                hard_vocab_limit=False,
                character_coverage=1.0,
                minloglevel=1,
            )
            for made in Path(folder).iterdir():
                made.replace(out / made.name)
    except RuntimeError as error:  # SentencePiece's C++ errors: too few pieces for the text's characters
        raise SystemExit(
            f"--vocabulary: SentencePiece could not make {vocabulary} pieces from {files[0].parent}: {error}"
        ) from error
    return sentencepiece.SentencePieceProcessor(model_file=str(out / "sentencepiece.model"))


def check(texts):
    """Exit with one sentence unless the two files, one for each language, can be read, are aligned and hold a line."""
    if not sum(1 for _ in lines.aligned({path: lines.read_lines(path) for path in texts})):
        raise SystemExit(f"{texts[0]} is empty.")


def segment(model, texts, out):
    """Write every line of the two files to files of the same names, as pieces separated by spaces."""
    lines.write_aligned(
        {
            out / path.name: (" ".join(model.encode(line, out_type=str)) for line in lines.read_lines(path))
            for path in texts
        }
    )


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True, help="folder with train, valid and test")
    parser.add_argument("--languages", nargs=2, required=True, metavar=("SOURCE", "TARGET"))
    parser.add_argument("--vocabulary", type=int, default=4000, help="pieces at most (default: 4000)")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    args = parser.parse_args()
    splits = [[args.corpus / f"{split}.{language}" for language in args.languages] for split in SPLITS]
    for texts in splits:
        check(texts)
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        model = train_model(splits[0], args.out, args.vocabulary)
    except OSError as error:
        raise SystemExit(f"--out {args.out} cannot be written: {error.strerror or error}.") from error
    for texts in splits:
        segment(model, texts, args.out)
    print(f"SentencePiece: {model.vocab_size()} pieces for both languages.")


if __name__ == "__main__":
    command.run(main)
