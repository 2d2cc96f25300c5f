"""Learn byte-pair merges from counts of words, the very ones that ``subword_nmt.learn_bpe`` learns, in less memory.

subword-nmt keeps, for every pair of symbols, a dictionary of the words that have it: several times 4 GB for the four
million words of WMT14. Here all words are one array of symbols, and what stands beside a symbol is sorted once, when
the symbol comes to be. From then on a pair can only become rarer, so it waits in a heap under what it once was, and is
counted again when its turn comes.
"""

import heapq
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

END = "</w>"  # follows the last character of a word
SEPARATOR = 0  # the symbol before the first word and after each
INSIDE = -1  # stands in a cell that is not the first of its symbol
CODES = 0x110000
LEAST = 2  # a pair that occurs less often is not merged

Numbers = NDArray[np.int64]


class Last(tuple):
    """Names of a pair, smaller than others where they come after them in the alphabet."""

    __lt__ = tuple.__gt__


class Queue:
    """Pairs of symbols, the most frequent first; of equally frequent ones that with the last names.

    Those below a threshold wait in arrays, so that millions of them need little memory.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self.threshold = LEAST
        self.heap: list[tuple[int, Last, int, int]] = []
        self.rare: list[NDArray] = []

    def add(self, pairs: NDArray) -> None:
        """Add pairs: rows of a first symbol, a second one, and how often they occur."""
        often = pairs[:, 2] >= self.threshold
        for first, second, count in pairs[often].tolist():
            heapq.heappush(self.heap, (-count, Last((self.names[first], self.names[second])), first, second))
        rare = pairs[~often & (pairs[:, 2] >= LEAST)]
        if len(rare):
            self.rare.append(rare)

    def pop(self) -> tuple[int, int, int] | None:
        """The first and second symbol of the first pair, and how often it occurs; None if there is none."""
        if not self.heap and self.rare:
            rare, self.rare = np.concatenate(self.rare), []
            self.threshold = max(LEAST, rare[:, 2].max() // 2)
            self.add(rare)
        if not self.heap:
            return None
        count, _, first, second = heapq.heappop(self.heap)
        return first, second, -count


class Neighbours:
    """Where a symbol came to be, by the symbol that stood beside it then."""

    def __init__(self, places: Numbers, beside: NDArray[np.int32]) -> None:
        order = np.argsort(beside, kind="stable")
        self.places = places[order].astype(np.int32)
        self.beside, self.starts = np.unique(beside[order], return_index=True)

    def of(self, symbol: int) -> NDArray[np.int32]:
        """The places where ``symbol`` stood beside it."""
        number = int(np.searchsorted(self.beside, symbol))
        if number == len(self.beside) or self.beside[number] != symbol:
            return self.places[:0]
        end = self.starts[number + 1] if number + 1 < len(self.starts) else len(self.places)
        return self.places[self.starts[number] : end]


class Words:
    """All words, as symbols in one array.

    A symbol of several characters takes as many cells: the first holds its number, the first and the last its length.

    Attributes:
        names: of the symbols, by number. There is but one way to make a symbol, since what is merged within it does
            not depend on what stands around it.
    """

    def __init__(self, counts: Mapping[str, int]) -> None:
        text = "\n" + "\n".join(counts) + "\n"
        codes = np.frombuffer(text.encode("utf-32-le"), np.uint32).astype(np.int32) + 1
        separators = codes == ord("\n") + 1
        codes[np.flatnonzero(separators)[1:] - 1] += CODES
        codes[separators] = SEPARATOR
        used = np.zeros(2 * CODES + 1, bool)
        used[codes] = True
        numbers = np.cumsum(used, dtype=np.int32) - 1
        self.names = [chr((code - 1) % CODES) + END * (code > CODES) for code in np.flatnonzero(used).tolist()]
        self.characters = len(self.names)
        self.symbol = numbers[codes]
        self.length = np.ones(len(codes), np.int32)
        self.word = np.cumsum(separators, dtype=np.int32) - 1
        self.count = np.fromiter(counts.values(), np.int64, len(counts))
        self.left: dict[int, Neighbours] = {}
        self.right: dict[int, Neighbours] = {}

    def first_pairs(self) -> Iterator[NDArray]:
        """The pairs of characters, for ``Queue.add``."""
        places = np.flatnonzero(self.symbol != SEPARATOR).astype(np.int32)
        places = places[np.argsort(self.symbol[places], kind="stable")]
        symbols, starts = np.unique(self.symbol[places], return_index=True)
        for symbol, own in zip(symbols.tolist(), np.split(places, starts[1:])):
            yield self.remember(self.right, symbol, own, own + 1)

    def remember(self, side: dict[int, Neighbours], symbol: int, places: Numbers, beside: Numbers) -> NDArray:
        """Remember what stands beside a symbol where it has come to be.

        Args:
            side: ``left`` or ``right``.
            symbol: its number.
            places: its cells.
            beside: the cells of the symbols beside it.

        Returns:
            The pairs and how often they occur, for ``Queue.add``.
        """
        others = self.symbol[beside]
        inside = others != SEPARATOR
        near = side[symbol] = Neighbours(places[inside], others[inside])
        counts = self.count[self.word[near.places]]
        counts = np.add.reduceat(counts, near.starts) if len(counts) else counts
        own = np.full(len(counts), symbol)
        return np.stack([near.beside, own, counts] if side is self.left else [own, near.beside, counts], axis=1)

    def places(self, first: int, second: int) -> Numbers:
        """Where this pair stands, in order: the cells of its first symbols."""
        if second > first and second >= self.characters:
            behind = self.left[second].of(first)
            behind = behind[self.symbol[behind] == second]
            places = behind - self.length[behind - 1]
        else:
            places = self.right[first].of(second)
        places = places[self.symbol[places] == first]
        return places[self.symbol[places + self.length[places]] == second]

    def occurrences(self, places: Numbers) -> int:
        """How often what stands in these places occurs in the text."""
        return int(self.count[self.word[places]].sum())

    def merge(self, places: Numbers, first: int, second: int) -> NDArray:
        """Merge a pair where it stands; return the pairs that come to be, for ``Queue.add``."""
        behind = places + self.length[places]
        if first == second:  # of a run of three the third is left
            number = np.arange(len(places))
            begins = np.append(True, behind[:-1] != places[1:])
            even = (number - np.maximum.accumulate(np.where(begins, number, 0))) % 2 == 0
            places, behind = places[even], behind[even]
        after = behind + self.length[behind]
        merged = len(self.names)
        self.names.append(self.names[first] + self.names[second])
        self.symbol[behind] = INSIDE
        self.symbol[places] = merged
        self.length[places] = self.length[after - 1] = after - places
        left = self.remember(self.left, merged, places, places - self.length[places - 1])
        right = self.remember(self.right, merged, places, after)
        return np.concatenate([left, right[right[:, 1] != merged]])


def learn(counts: Mapping[str, int], operations: int) -> Iterator[tuple[str, str]]:
    """Yield the pairs to merge, one after the other: ``operations``, or fewer if no pair is left that occurs twice.

    Args:
        counts: how often each word occurs; no word is empty, has white space, or the characters of ``END``, for which
            subword-nmt takes them too.
        operations: how many at most.
    """
    words = Words(counts)
    queue = Queue(words.names)
    for pairs in words.first_pairs():
        queue.add(pairs)
    while operations and (pair := queue.pop()):
        first, second, once = pair
        places = words.places(first, second)
        count = words.occurrences(places)
        if count < once:
            queue.add(np.array([[first, second, count]]))
            continue
        yield words.names[first], words.names[second]
        queue.add(words.merge(places, first, second))
        operations -= 1
