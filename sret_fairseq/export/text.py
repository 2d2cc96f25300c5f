"""How the text of a training was prepared: what a bundle is given of it, and whether that fits the dictionary."""

import re
import shutil
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional

from fairseq.data import Dictionary

from sret_fairseq.errors import OptionError, require
from sret_translate.errors import BundleError
from sret_translate.segmentation import BPE_CODES, MOSES_OPTIONS, PIECES_MODEL, SentencePiece, read_codes

PADDING = re.compile(r"madeupword\d+")  # with which fairseq makes a dictionary's size a multiple of 8
FOREIGN = 0.05  # of a dictionary's words at most: those that a tool put between the pieces, such as <2de> or __de__


class Text(NamedTuple):
    """How the training's text was prepared; without any of them the bundle reads text that is in BPE's pieces.

    Attributes:
        sentencepiece: the model that cut it into pieces.
        bpe_codes: the codes of subword-nmt.
        moses: with the codes: it was tokenised as Moses does it, with these of MOSES_OPTIONS; None for text that
            comes in tokenised.
    """

    sentencepiece: Optional[Path] = None
    bpe_codes: Optional[Path] = None
    moses: Optional[List[str]] = None


PIECES = Text()


def copy_text(text: Text, folder: Path, task: Any) -> Dict[str, Any]:
    """Copy what prepares text into a bundle; what config.json says of it.

    Args:
        text: it.
        folder: the bundle.
        task: the translation task of the training.

    Raises:
        OptionError: the parts do not fit together, or the dictionary.
    """
    languages = [getattr(task.cfg, name, None) for name in ("source_lang", "target_lang")]
    moses = None if text.moses is None else sorted(set(text.moses))
    require(
        text.sentencepiece is None or (text.bpe_codes is None and moses is None),
        "give a SentencePiece model or BPE codes, not both.",
        "export",
    )
    require(moses is None or text.bpe_codes is not None, "--moses needs the BPE codes, --bpe-codes.", "export")
    require(
        moses is None or (set(moses) <= set(MOSES_OPTIONS) and None not in languages),
        f"--moses takes some of {', '.join(MOSES_OPTIONS)}, and needs the languages of the training.",
        "export",
    )
    if text.sentencepiece is not None:
        check_sentencepiece(Path(text.sentencepiece), task.source_dictionary)
    if text.bpe_codes is not None:
        check_codes(Path(text.bpe_codes))
    for path, name in ((text.sentencepiece, PIECES_MODEL), (text.bpe_codes, BPE_CODES)):
        if path is not None:
            shutil.copyfile(path, folder / name)
    kind = "sentencepiece" if text.sentencepiece else "bpe" if text.bpe_codes else "pieces"
    return {"languages": languages, "segmentation": kind, "moses": moses}


def check_sentencepiece(path: Path, dictionary: Dictionary) -> None:
    """Refuse a SentencePiece model that cannot have cut the text from which the source dictionary was made.

    The dictionary of the target may be of another model, which translating does not need: any pieces are joined alike.

    Raises:
        OptionError: names the model.
    """
    require_file("--sentencepiece", path)
    try:
        model = SentencePiece(path).model
    except BundleError as error:
        raise OptionError(f"--sentencepiece: {error}") from error
    if not fits({model.id_to_piece(number) for number in range(model.vocab_size())}, dictionary):
        raise OptionError(
            f"--sentencepiece: {path} is of another text than the source dictionary, which holds words that it never "
            f"gives; take the model that cut the training's text."
        )


def fits(pieces: "set[str]", dictionary: Dictionary) -> bool:
    """Whether text in these pieces can have given a dictionary.

    Much may differ with the right model. Pieces that no text has, or too few, are not in the dictionary; a character
    that the model does not know goes into it as it stands, with its neighbours of that kind. But what is no piece, and
    has only characters that are, no model gives: the right one leaves nothing of that kind, and one of the same text
    with half as many pieces a half. For a model that does not know the very script, pieces are counted as they occur:
    few, where with the right one characters that it does not know are rare.
    """
    words = {
        word: count
        for word, count in list(zip(dictionary.symbols, dictionary.count))[dictionary.nspecial :]
        if not PADDING.fullmatch(word)
    }
    others = [word for word in words if word not in pieces]
    foreign = sum(all(character in pieces for character in word) for word in others)
    return foreign <= FOREIGN * len(words) and 2 * sum(map(words.get, others)) <= sum(words.values())


def check_codes(path: Path) -> None:
    """Refuse a file that does not hold the codes of subword-nmt.

    Raises:
        OptionError: names it.
    """
    require_file("--bpe-codes", path)
    try:
        read_codes(path)
    except BundleError as error:
        raise OptionError(f"--bpe-codes: {error}") from error


def require_file(option: str, path: Path) -> None:
    """Raise OptionError unless there is a file."""
    if not path.is_file():
        raise OptionError(f"{option}: there is no file {path}.")
