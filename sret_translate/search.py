"""Beam search on the graphs of a bundle: the same hypotheses as fairseq's."""

from __future__ import annotations

from typing import Dict, List, NamedTuple, Sequence

from sret_translate.bundle import np, onnxruntime

PAD, EOS = 1, 2  # fairseq's numbers
ROOM = 4  # steps of all beams for which the caches have room at first, and by which they grow, ...
GROWTH = 4  # ... or by a quarter
# From this part of finished sentences on, moving the others together costs less than computing for all.
COMPACT_FROM = 0.2


class Settings(NamedTuple):
    """What a search is told, under fairseq's names and with its defaults; ``beam`` is fairseq-generate's."""

    beam: int = 5
    lenpen: float = 1.0
    min_len: int = 1
    max_len_a: float = 0.0
    max_len_b: int = 200


class Found(NamedTuple):
    """A finished hypothesis: its tokens without the end of the sentence, and its score as fairseq normalises it."""

    tokens: List[int]
    score: float


class Steps:
    """A decoder's caches and the buffers of its inputs and outputs, which each step reads and writes in place.

    A cache has S slots, each for the keys of one step of one beam. Most hypotheses share their beginnings, so that
    slots soon belong to none of them any more; new steps go there, and attention goes through a third of the keys.

    Args:
        session: of the decoder's step.
        encoded: what the encoder returned.
        batch: B, sentences.
        beam: K.
    """

    def __init__(self, session: onnxruntime.InferenceSession, encoded: Dict[str, np.ndarray], batch: int, beam: int):
        self.session, self.batch, self.beam = session, batch, beam
        self.shapes = {node.name: node.shape for node in session.get_inputs()}
        self.vocabulary = self.shapes["token_bias"][1]
        self.arrays = {name: array for name, array in encoded.items() if name in self.shapes}
        self.arrays["step"] = np.zeros(1, np.int64)
        self.arrays["candidates"] = np.array([min(2 * beam, beam * self.vocabulary)])
        self.arrays["token_bias"] = np.zeros((1, self.vocabulary), np.float32)
        self.arrays["tokens"] = np.full((batch, beam), EOS)
        self.arrays["scores"] = np.zeros((batch, beam), np.float32)
        self.arrays["scores"][:, 1:] = -np.inf  # at first all beams are one
        self.arrays["new_slots"] = np.zeros((batch, beam), np.int64)
        self.arrays["visible"] = np.zeros((batch, beam, 0), bool)
        if "written" in self.shapes:
            self.arrays["written"] = np.zeros((batch, 0), np.int64)
        self.names = [name for name in self.shapes if name.startswith(("keys_", "values_"))]
        _, _, heads, _, width = self.shapes[self.names[0]]
        # All in one piece: the system gives large pieces of memory in large pages, in half the time.
        self.caches = np.empty((len(self.names), 1, batch, heads, 0, width), np.float32)
        self.results: Dict[str, np.ndarray] = {}
        self.grow()

    def grow(self) -> None:
        """Make room for more slots: few at a time, since attention goes through all that there are."""
        *outer, slots, width = self.caches.shape
        more = max(ROOM * self.beam, slots // GROWTH)
        larger = np.empty((*outer, slots + more, width), np.float32)
        larger[..., :slots, :] = self.caches
        larger[..., slots:, :] = 0.0  # a weight of 0 times what was there before may be NaN
        self.caches = larger
        for name in ("visible", "written"):
            if name in self.arrays:
                old = self.arrays[name]
                self.arrays[name] = np.concatenate([old, np.zeros((*old.shape[:-1], more), old.dtype)], axis=-1)
        self.bind()

    def take_slots(self, step: int) -> None:
        """Give the step slots that no hypothesis needs."""
        needed = self.arrays["visible"].any(axis=1)
        if needed.shape[1] < self.beam + needed.sum(axis=1).max(initial=0):
            self.grow()
            needed = self.arrays["visible"].any(axis=1)
        slots = needed.argsort(axis=1, kind="stable")[:, : self.beam]
        self.arrays["new_slots"][:] = slots
        self.arrays["visible"][self.rows, self.each_beam, slots] = True
        if "written" in self.arrays:
            self.arrays["written"][self.rows, slots] = step

    def keep(self, rows: np.ndarray) -> None:
        """Go on with some of the sentences only."""
        self.caches = np.compress(rows, self.caches, axis=2)
        for name, array in self.arrays.items():
            if "batch" in self.shapes[name]:
                self.arrays[name] = np.compress(rows, array, axis=self.shapes[name].index("batch"))
        self.batch = int(rows.sum())
        self.bind()

    def bind(self) -> None:
        """Tell onnxruntime where everything lies; until the next change of shape it does not move."""
        self.rows, self.each_beam = np.arange(self.batch)[:, None], np.arange(self.beam)
        self.binding = self.session.io_binding()
        for name, array in self.arrays.items():
            self.bind_input(name, array)
        for name, cache in zip(self.names, self.caches):
            value = onnxruntime.OrtValue.ortvalue_from_numpy(cache)
            self.binding.bind_ortvalue_input(name, value)
            self.binding.bind_ortvalue_output(f"new_{name}", value)
        count = (self.batch, int(self.arrays["candidates"][0]))
        for name, dtype in (("scores", np.float32), ("tokens", np.int64), ("beams", np.int64)):
            self.results[name] = np.empty(count, dtype)
            value = onnxruntime.OrtValue.ortvalue_from_numpy(self.results[name])
            self.binding.bind_ortvalue_output(f"candidate_{name}", value)

    def bind_input(self, name: str, array: np.ndarray) -> None:
        """Bind one input to an array, whose memory it shares."""
        self.arrays[name] = array
        self.binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(array))

    def forbid(self, bias: np.ndarray) -> None:
        """Set what is added to the log-probabilities: (1, V), or (B * K, V)."""
        if bias is not self.arrays["token_bias"]:
            self.bind_input("token_bias", bias)

    def run(self, step: int) -> None:
        """Compute the candidates for a step into ``results``."""
        self.take_slots(step)
        self.arrays["step"][0] = step
        self.session.run_with_iobinding(self.binding)

    def follow(self, beams: np.ndarray, tokens: np.ndarray, scores: np.ndarray) -> None:
        """Replace the hypotheses by continuations: of which beam, by which token, with which score, (B, K) each."""
        self.arrays["visible"][:] = self.arrays["visible"][self.rows, beams]
        self.arrays["tokens"][:] = tokens
        self.arrays["scores"][:] = scores


class Search:
    """The beam search of one batch. Like fairseq's it ends a sentence once K hypotheses of it have ended.

    Args:
        steps: the decoder.
        limits: (B,), tokens of a translation at most, the end of the sentence apart.
        settings: the options.
    """

    def __init__(self, steps: Steps, limits: np.ndarray, settings: Settings):
        self.steps, self.limits, self.settings = steps, limits, settings
        batch, beam = len(limits), settings.beam
        self.found: List[List[Found]] = [[] for _ in range(batch)]
        self.sentences = np.arange(batch)  # which sentence each row of the batch is
        self.finished = np.zeros(batch, dtype=bool)  # rows
        self.history = np.zeros((batch, beam, int(limits.max()) + 1), np.int32)
        self.ignored = np.zeros((batch, beam), dtype=bool)
        self.any_word, self.no_end, self.only_end = biases(steps.vocabulary)

    def run(self) -> List[List[Found]]:
        """The hypotheses of each sentence, best first."""
        for step in range(int(self.limits.max()) + 1):
            self.steps.forbid(self.bias(step))
            self.steps.run(step)
            ended = self.collect(step)
            if self.finished.all():
                break
            self.advance(step, ended)
        return [sorted(found, key=lambda one: -one.score) for found in self.found]

    def bias(self, step: int) -> np.ndarray:
        """What the search forbids: no end before the shortest length, and at its limit nothing but the end."""
        at_limit = step >= self.limits
        if at_limit.all():
            return self.only_end
        bias = self.no_end if step < self.settings.min_len else self.any_word
        if not at_limit.any():
            return bias
        return np.where(np.repeat(at_limit, self.settings.beam)[:, None], self.only_end, bias)

    def collect(self, step: int) -> np.ndarray:
        """Take the hypotheses that end here, among the K best candidates; which candidates end at all, (B, M)."""
        beam, results = self.settings.beam, self.steps.results
        scores, beams = results["scores"], results["beams"]
        ended = results["tokens"] == EOS
        if not ended.any():
            return ended
        ended &= scores > -np.inf
        ended[:, :beam] &= ~self.ignored
        taken = ended[:, :beam] & ~self.finished[:, None]
        for row, rank in zip(*np.nonzero(taken)):
            found = self.found[self.sentences[row]]
            if len(found) < beam:
                tokens = self.history[row, beams[row, rank], :step].tolist()
                found.append(Found(tokens, float(scores[row, rank]) / (step + 1) ** self.settings.lenpen))
        for row in np.flatnonzero(taken.any(axis=1)):
            self.finished[row] = len(self.found[self.sentences[row]]) == beam
        self.finished |= step >= self.limits
        return ended

    def advance(self, step: int, ended: np.ndarray) -> None:
        """Go on with the K best candidates that do not end."""
        beam, results = self.settings.beam, self.steps.results
        ended[:, :beam] |= self.ignored
        order = np.argsort(ended, axis=1, kind="stable")[:, :beam]
        rows = self.steps.rows
        self.ignored = ended[rows, order]
        beams, tokens, scores = (results[name][rows, order] for name in ("beams", "tokens", "scores"))
        self.history[:, :, :step] = self.history[rows, beams, :step]
        self.history[:, :, step] = tokens
        self.steps.follow(beams, tokens, scores)
        if np.count_nonzero(self.finished) >= COMPACT_FROM * len(self.finished):
            going = ~self.finished
            self.steps.keep(going)
            self.sentences, self.limits, self.history, self.ignored = (
                rows[going] for rows in (self.sentences, self.limits, self.history, self.ignored)
            )
            self.finished = np.zeros(len(self.sentences), dtype=bool)


def biases(vocabulary: int) -> List[np.ndarray]:
    """What is added to log-probabilities, (1, V): for any word and the end, any word, and the end alone."""
    any_word = np.zeros((1, vocabulary), np.float32)
    any_word[:, PAD] = -np.inf
    no_end = any_word.copy()
    no_end[:, EOS] = -np.inf
    only_end = np.full((1, vocabulary), -np.inf, np.float32)
    only_end[:, EOS] = 0.0
    return [any_word, no_end, only_end]


def search(
    encoder: onnxruntime.InferenceSession,
    decoder: onnxruntime.InferenceSession,
    sources: Sequence[Sequence[int]],
    settings: Settings,
    most: int,
) -> List[List[Found]]:
    """The hypotheses of each sentence, best first.

    Args:
        encoder, decoder: the sessions of a bundle.
        sources: the tokens of each sentence, its end included.
        settings: the options.
        most: tokens of a translation at most, whatever the settings say.
    """
    lengths = np.array([len(source) for source in sources])
    tokens = np.full((len(sources), lengths.max()), PAD)
    for row, source in zip(tokens, sources):
        row[: len(source)] = source
    encoded = dict(zip([node.name for node in encoder.get_outputs()], encoder.run(None, {"tokens": tokens})))
    limits = np.minimum((settings.max_len_a * lengths + settings.max_len_b).astype(int), most)
    return Search(Steps(decoder, encoded, len(sources), settings.beam), limits, settings).run()
