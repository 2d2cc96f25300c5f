"""Translating sentences, in batches of similar lengths."""

import math
from typing import Callable, List, NamedTuple, Optional, Sequence

from sret_translate.bundle import Bundle
from sret_translate.errors import require
from sret_translate.search import EOS, Found, Settings, search

MOST_LENPEN, MOST_LEN_A = 50, 1000  # far beyond what is of use; still farther numbers overflow


class Hypothesis(NamedTuple):
    """A translation and its score: the sum of its log-probabilities by its length to the power of ``lenpen``."""

    text: str
    score: float


class Translator:
    """A bundle that translates. Several threads may use one at a time.

    Args:
        folder: the bundle's.
        threads: of onnxruntime for each operator.
        passes: which of the numbers of passes that the bundle holds; None for the most.

    Raises:
        BundleError: the bundle cannot be used.
    """

    def __init__(self, folder: str, threads: int = 1, passes: Optional[int] = None):
        self.bundle = Bundle(folder, threads, passes)

    def translate(self, sentences: Sequence[str], batch_size: int = 32, **settings: float) -> List[str]:
        """The best translation of each sentence; an empty one has an empty translation.

        Args:
            sentences: plain text.
            batch_size: sentences that are translated together.
            settings: those of ``Settings``: beam, lenpen, min_len, max_len_a, max_len_b.

        Raises:
            BundleError: a setting is wrong.
        """
        return [found[0].text for found in self.hypotheses(sentences, batch_size, **settings)]

    def hypotheses(
        self,
        sentences: Sequence[str],
        batch_size: int = 32,
        progress: Optional[Callable[[int], None]] = None,
        **settings: float,
    ) -> List[List[Hypothesis]]:
        """The hypotheses of each sentence, best first, at most as many as beams.

        A sentence that is too long for the model is translated in parts, and has one hypothesis.

        Args:
            sentences, batch_size, settings: as for ``translate``.
            progress: called with the number of parts of each batch that has been translated.
        """
        chosen = checked(Settings(**settings), len(self.bundle.target))
        parts = [self.bundle.parts(self.bundle.encode(sentence)) for sentence in sentences]
        tokens = [part for several in parts for part in several]
        found = iter(self.search(tokens, batch_size, chosen, progress))
        return [self.joined([next(found) for _ in several]) for several in parts]

    def search(
        self,
        tokens: List[List[int]],
        batch_size: int,
        settings: Settings,
        progress: Optional[Callable[[int], None]],
    ) -> List[List[Found]]:
        """The hypotheses of tokens, in the order in which they were given."""
        results: List[List[Found]] = [[Found([], 0.0)]] * len(tokens)
        order = sorted((place for place, part in enumerate(tokens) if part), key=lambda place: len(tokens[place]))
        bundle = self.bundle
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            sources = [[*tokens[place], EOS] for place in batch]
            found = search(bundle.encoder, bundle.decoder, sources, settings, bundle.config["max_target_positions"] - 1)
            for place, one in zip(batch, found):
                results[place] = one
            if progress is not None:
                progress(len(batch))
        return results

    def joined(self, found: List[List[Found]]) -> List[Hypothesis]:
        """The hypotheses of a sentence from those of its parts."""
        if len(found) == 1:
            return [Hypothesis(self.bundle.decode(one.tokens), one.score) for one in found[0]]
        best = [several[0] for several in found]
        text = " ".join(self.bundle.decode(one.tokens) for one in best)
        return [Hypothesis(text, sum(one.score for one in best) / len(best))]


def checked(settings: Settings, vocabulary: int) -> Settings:
    """The settings.

    Raises:
        BundleError: one of them is wrong.
    """
    most = min(200, vocabulary // 2)
    require(1 <= settings.beam <= most, f"beam {settings.beam} must be a whole number from 1 to {most}.")
    for name in ("lenpen", "max_len_a"):
        require(math.isfinite(getattr(settings, name)), f"{name} {getattr(settings, name)} must be a number.")
    require(
        abs(settings.lenpen) <= MOST_LENPEN, f"lenpen {settings.lenpen} must be from -{MOST_LENPEN} to {MOST_LENPEN}."
    )
    require(0 <= settings.max_len_a <= MOST_LEN_A, f"max_len_a {settings.max_len_a} must be from 0 to {MOST_LEN_A}.")
    require(settings.max_len_b >= 1, f"max_len_b {settings.max_len_b} must be 1 or more.")
    require(
        0 <= settings.min_len <= settings.max_len_b,
        f"min_len {settings.min_len} must be from 0 to max_len_b, {settings.max_len_b}.",
    )
    return settings
