"""Train one SentencePiece model for both languages of a corpus and segment every split with it.

Reads ``{train,valid,test}.LANG`` from ``--corpus``; writes ``sentencepiece.model`` and the same names, segmented,
into ``--out``. The model is trained on train alone. Of train, pairs with an empty side, of more than ``--longest``
pieces or of lengths beyond 1 to ``--ratio`` are dropped, and counted; valid and test stay as they are.
"""

import argparse
import functools
import io
import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import sentencepiece

from common import arguments, command, files, lines
from prepare import clean_pairs

SPLITS = ("train", "valid", "test")


def train_model(
    texts: Sequence[Path], made: Mapping[str, Path], vocabulary: int
) -> sentencepiece.SentencePieceProcessor:
    """Train a unigram model; its vocabulary gets smaller by itself when the text is too small for it.

    Args:
        texts: the training text of each language.
        made: where the model and its vocabulary go.
        vocabulary: pieces at most.

    Raises:
        SystemExit: there are too few pieces for the text's characters.
    """
    model = io.BytesIO()  # SentencePiece itself does not say that a disk is full
    try:
        sentencepiece.SentencePieceTrainer.train(
            input=[str(path) for path in texts],
            model_writer=model,
            vocab_size=vocabulary,
            hard_vocab_limit=False,
            character_coverage=1.0,
            minloglevel=1,
        )
    except (RuntimeError, ValueError) as error:  # of more pieces than a number has room for too
        raise SystemExit(
            f"--vocabulary: SentencePiece could not make {vocabulary} pieces from {texts[0].parent}: {error}"
        ) from error
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    pieces = [(processor.id_to_piece(index), processor.get_score(index)) for index in range(processor.vocab_size())]
    listing = "".join(f"{piece}\t{score:g}\n" for piece, score in pieces)
    made["sentencepiece.vocab"].write_text(listing, encoding="utf-8")
    made["sentencepiece.model"].write_bytes(model.getvalue())
    return processor


def check(texts: Sequence[Path]) -> None:
    """Exit with one sentence unless the two files, one for each language, can be read, are aligned and hold a pair."""
    rows = lines.aligned({path: lines.read_lines(path) for path in texts})
    if not sum(all(line.strip() for line in row) for row in rows):
        raise SystemExit(f"{texts[0]} and {texts[1]} hold no pair of sentences.")


def segment(
    model: sentencepiece.SentencePieceProcessor,
    texts: Sequence[Path],
    made: Mapping[str, Path],
    fault: Callable[[str, str], str | None],
) -> Counter[str]:
    """Write the pairs of two files to files of the same names, as pieces separated by spaces; count what is left out.

    Args:
        model: divides a sentence into pieces.
        texts: the file of each language.
        made: the file to write for each name.
        fault: why a pair of pieces is left out; None for one that stays.
    """
    faults: Counter[str] = Counter()
    kept = 0
    with ExitStack() as stack:
        outputs = [stack.enter_context(open(made[path.name], "w", encoding="utf-8", newline="\n")) for path in texts]
        for row in lines.aligned({path: lines.read_lines(path) for path in texts}):
            source, target = (" ".join(model.encode(line, out_type=str)) for line in row)
            if why := fault(source, target):
                faults[why] += 1
                continue
            kept += 1
            for file, line in zip(outputs, (source, target)):
                file.write(f"{line}\n")
        if not kept:
            raise SystemExit(f"{texts[0]}: no pair is left ({clean_pairs.report(faults)}); are the files aligned?")
    return faults


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=arguments.path, required=True, help="folder with train, valid and test")
    parser.add_argument("--languages", nargs=2, required=True, metavar=("SOURCE", "TARGET"))
    parser.add_argument("--vocabulary", type=arguments.at_least(1), default=4000, help="pieces at most (default: 4000)")
    parser.add_argument(
        "--longest",
        type=arguments.at_least(1),
        default=250,
        help="pieces of a training sentence at most (default: 250)",
    )
    parser.add_argument(
        "--ratio", type=arguments.ratio, default=9.0, help="of a pair's two lengths at most (default: 9)"
    )
    parser.add_argument("--out", type=arguments.path, required=True, help="folder to write")
    args = parser.parse_args()
    if len(set(args.languages)) == 1:
        parser.error(f"--languages: both are {args.languages[0]}; give two.")
    return args


def main() -> None:
    """Run the command line."""
    args = parse_args()
    splits = [[args.corpus / f"{split}.{language}" for language in args.languages] for split in SPLITS]
    for texts in splits:
        check(texts)
    names = [text.name for texts in splits for text in texts]
    files.keep_inputs(itertools.chain(*splits), [args.out / name for name in names])
    files.output_folder(args.out)
    unfit = functools.partial(clean_pairs.fault, longest=args.longest, ratio=args.ratio)
    # Together, since a model of other text would translate wrongly.
    with files.atomic_together(args.out, [*names, "sentencepiece.vocab", "sentencepiece.model"]) as made:
        model = train_model(splits[0], made, args.vocabulary)
        faults = segment(model, splits[0], made, unfit)
        for texts in splits[1:]:
            segment(model, texts, made, lambda source, target: None)
    print(f"SentencePiece: {model.vocab_size()} pieces for both languages.")
    if faults:
        print(f"{splits[0][0].stem}: dropped {clean_pairs.report(faults)}.")


if __name__ == "__main__":
    command.run(main)
