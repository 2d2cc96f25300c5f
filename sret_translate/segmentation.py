"""How text becomes the symbols of a vocabulary, and symbols text: by SentencePiece, by BPE, or not at all."""

from __future__ import annotations

import functools
import itertools
import re
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple, Union

from sret_translate.errors import BundleError, require

PIECES_MODEL, BPE_CODES = "sentencepiece.model", "bpe.codes"  # files of a bundle
MOSES_OPTIONS = ("lower", "aggressive", "apostrophes")
SPACE, CONTINUES, END = "\u2581", "@@", "</w>"
# As in scripts/prepare/tokenise.py: behind an abbreviation or a number sacremoses leaves the last stop where it is.
FINAL_STOP = re.compile(r"(?<=[^\s.])\.$")


class Plain:
    """Text that is in BPE's pieces already."""

    def encode(self, line: str) -> List[str]:
        """The symbols of a line."""
        return line.split()

    def decode(self, symbols: Sequence[str]) -> str:
        """The text of symbols."""
        return (" ".join(symbols) + " ").replace(f"{CONTINUES} ", "").rstrip()

    def begins_word(self, symbol: str, before: str) -> bool:
        """Whether a word begins with a symbol behind another one."""
        return not before.endswith(CONTINUES)


class SentencePiece:
    """Plain text, in the pieces of a SentencePiece model; methods as of ``Plain``."""

    def __init__(self, path: Path):
        try:
            import sentencepiece
        except ImportError as error:
            raise BundleError("this bundle needs sentencepiece: pip install sentencepiece.") from error
        try:
            self.model = sentencepiece.SentencePieceProcessor(model_file=str(path))
        except (OSError, RuntimeError) as error:
            raise BundleError(f"{path} is no SentencePiece model.") from error

    def encode(self, line: str) -> List[str]:
        return " ".join(self.model.encode(line, out_type=str)).split()

    def decode(self, symbols: Sequence[str]) -> str:
        return "".join(symbols).replace(SPACE, " ").strip()

    def begins_word(self, symbol: str, before: str) -> bool:
        return symbol.startswith(SPACE)


class Bpe(Plain):
    """Tokenised text, in the pieces that subword-nmt makes of it.

    Args:
        path: the codes of ``subword-nmt learn-bpe``.
    """

    def __init__(self, path: Path):
        self.ranks, self.apart = read_codes(path)
        self.pieces = functools.lru_cache(maxsize=1 << 16)(self.merged)

    def encode(self, line: str) -> List[str]:
        found: List[str] = []
        for word in line.strip("\r\n ").split(" "):
            *begin, last = self.pieces(word) if word else [""]
            found += [*(piece + CONTINUES for piece in begin), last]
        return " ".join(found).split()

    def merged(self, word: str) -> List[str]:
        """The pieces of a word: its characters, of which neighbours are joined by the lowest code, again and again."""
        symbols = [*word, END] if self.apart else [*word[:-1], word[-1] + END]
        while len(symbols) > 1:
            pair = min(itertools.pairwise(symbols), key=lambda pair: self.ranks.get(pair, len(self.ranks)))
            if pair not in self.ranks:
                break
            joined, at = [], 0
            while at < len(symbols):
                width = 2 if tuple(symbols[at : at + 2]) == pair else 1
                joined.append("".join(symbols[at : at + width]))
                at += width
            symbols = joined
        if symbols[-1] == END:
            return symbols[:-1]
        return [*symbols[:-1], symbols[-1].removesuffix(END)]


def read_codes(path: Path) -> Tuple[Dict[Tuple[str, ...], int], bool]:
    """The rank of each pair that is merged, and whether the end of a word is a symbol of its own (version 0.1).

    Raises:
        BundleError: there is no such file, or it is another.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"{path} cannot be read as the codes of subword-nmt ({error}).") from error
    versioned = lines[0].startswith("#version:")
    version = lines[0].partition(":")[2].strip() if versioned else "0.1"
    pairs = [tuple(line.strip("\r\n ").split(" ")) for line in lines[versioned:] if line.strip("\r\n ")]
    known = version in ("0.1", "0.2") and pairs and all(len(pair) == 2 for pair in pairs)
    require(bool(known), f"{path} does not hold the codes of subword-nmt, of version 0.1 or 0.2.")
    ranks: Dict[Tuple[str, ...], int] = {}
    for rank, pair in enumerate(pairs):
        ranks.setdefault(pair, rank)
    return ranks, version == "0.1"


class Moses:
    """Plain text, tokenised as Moses does it and then in the pieces of BPE; methods as of ``Plain``.

    Args:
        bpe: what makes the pieces.
        languages: of the source and the target.
        options: some of MOSES_OPTIONS: lower case, words split at hyphens, typographic apostrophes as ASCII's.
    """

    def __init__(self, bpe: Bpe, languages: Sequence[str], options: Sequence[str]):
        try:
            import sacremoses
        except ImportError as error:
            raise BundleError("this bundle's text is tokenised as Moses does it: pip install sacremoses.") from error
        self.bpe, self.options = bpe, options
        self.tokeniser = sacremoses.MosesTokenizer(languages[0])
        self.detokeniser = sacremoses.MosesDetokenizer(languages[1])

    def encode(self, line: str) -> List[str]:
        if "apostrophes" in self.options:
            line = line.replace("\u2019", "'")
        line = self.tokeniser.tokenize(line, aggressive_dash_splits="aggressive" in self.options, return_str=True)
        line = " ".join(FINAL_STOP.sub(" .", line).split())
        return self.bpe.encode(line.lower() if "lower" in self.options else line)

    def decode(self, symbols: Sequence[str]) -> str:
        return self.detokeniser.detokenize(self.bpe.decode(symbols).split())

    def begins_word(self, symbol: str, before: str) -> bool:
        return self.bpe.begins_word(symbol, before)


def segmentation_of(folder: Path, config: Dict[str, Any]) -> Union[Plain, SentencePiece, Moses]:
    """What a bundle's text goes through.

    Raises:
        BundleError: a package is missing, or a file cannot be used.
    """
    kind = config["segmentation"]
    if kind == "sentencepiece":
        return SentencePiece(folder / PIECES_MODEL)
    if kind == "pieces":
        return Plain()
    bpe = Bpe(folder / BPE_CODES)
    return bpe if config.get("moses") is None else Moses(bpe, config["languages"], config["moses"])


def well_formed_text(config: Dict[str, Any]) -> bool:
    """Whether what a configuration says of its text can be used."""
    kind, moses, languages = (config.get(name) for name in ("segmentation", "moses", "languages"))
    needed = {"sentencepiece": [PIECES_MODEL], "bpe": [BPE_CODES], "pieces": []}.get(kind)
    return (
        needed is not None
        and all(name in config["files"] for name in needed)
        and (moses is None or (isinstance(moses, list) and set(map(str, moses)) <= set(MOSES_OPTIONS)))
        and (moses is None or (isinstance(languages, list) and list(map(type, languages)) == [str, str]))
    )
