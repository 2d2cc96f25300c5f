"""Synthetic sentence pairs in batches, made by fairseq's own data set from a fixed seed."""

import math
from typing import List

import numpy as np
import torch
from fairseq.data import LanguagePairDataset, ListDataset
from fairseq.data.language_pair_dataset import collate

from benchmarks.models import WORDS, dictionary

SEED = 1
MEAN, SPREAD = 25, 0.6  # tokens of a source sentence, and the standard deviation of their logarithm


def sentence(generator: np.random.Generator, length: int) -> torch.Tensor:
    """Random words and the end of the sentence: (length,)."""
    words = generator.integers(4, 4 + WORDS, length)
    words[-1] = dictionary().eos()
    return torch.from_numpy(words)


def lengths(generator: np.random.Generator, count: int) -> np.ndarray:
    """Lengths of source and target sentences, (count, 2): log-normal as in translation texts, pairs alike."""
    source = generator.lognormal(math.log(MEAN) - SPREAD**2 / 2, SPREAD, count)
    target = source * generator.lognormal(0, 0.15, count)
    return np.stack([source, target], axis=1).round().astype(int).clip(2, 150)


def training_batches(max_tokens: int, count: int) -> List[dict]:
    """Batches of sentences of like length, as fairseq-train makes them: sources padded left, targets right.

    Args:
        max_tokens: of a batch, padding included.
        count: how many batches, drawn from all lengths.
    """
    generator = np.random.default_rng(SEED)
    # Enough pairs that sentences of like length fill a batch, and that the batches drawn are not all of them.
    sizes = lengths(generator, 4 * count * max_tokens // MEAN)
    sides = [[sentence(generator, length) for length in column] for column in sizes.T]
    source, target = (ListDataset(side, column) for side, column in zip(sides, sizes.T))
    pairs = LanguagePairDataset(source, sizes[:, 0], dictionary(), target, sizes[:, 1], dictionary(), shuffle=False)
    batches = pairs.batch_by_size(pairs.ordered_indices(), max_tokens=max_tokens)
    chosen = generator.choice(len(batches), count, replace=False)
    return [pairs.collater([pairs[index] for index in batches[number]]) for number in chosen]


def sources(count: int, device: str, length: int = 0) -> dict:
    """A batch of source sentences for an encoder, padded left: ``src_tokens`` (count, S) and ``src_lengths`` (count).

    Args:
        count: sentences.
        device: where to.
        length: of every sentence; 0 draws lengths as in translation texts.
    """
    generator = np.random.default_rng(SEED)
    sizes = [length] * count if length else lengths(generator, count)[:, 0]
    items = [{"id": index, "source": sentence(generator, size)} for index, size in enumerate(sizes)]
    batch = collate(items, dictionary().pad(), dictionary().eos())["net_input"]
    return {name: tensor.to(device) for name, tensor in batch.items()}
