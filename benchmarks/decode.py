"""Sentences/s of beam search with fairseq's SequenceGenerator, every translation of the same length."""

import argparse
from typing import List, Optional

import torch
from fairseq.sequence_generator import SequenceGenerator

from benchmarks import devices, models
from benchmarks.batches import sources
from benchmarks.comparison import Comparison, Goal
from benchmarks.options import chosen
from benchmarks.report import Report, comparisons_report
from benchmarks.time_limit import within

BEAM = 5
NOTES = [
    "A: fairseq's transformer, 6+6 layers, pre-norm. B: sret_transformer, 3 blocks x 2 passes a side, same width.",
    f"Beam {BEAM}. The models are untrained, so the length is fixed: every translation has the same number of tokens.",
    "6x3 + 6x1: 6 encoder blocks with 3 passes, 6 decoder blocks with one; no NLL, so as many parameters as A.",
    devices.COUNTED,
]


def variants(size: str) -> dict:
    """Options of B, by what the table calls them."""
    named = {"no NLL": models.NO_NLL, "NLL 1": models.WIDE_NLL, "defaults": models.B}
    for decoder_blocks in (6, 4):
        words = models.encoder_recursion(size, decoder_blocks)
        encoder_blocks = words.split("--encoder-layers ")[1].split()[0]
        named[f"equal parameters, {encoder_blocks}x3 + {decoder_blocks}x1"] = words
    return named


def goal(variant: str, batch: int, device: str) -> Optional[Goal]:
    """What the ratio should be, where that was decided."""
    if variant.startswith("equal parameters"):
        return Goal(1.1)
    if device == "cuda":
        return Goal(1.2 if variant == "defaults" else 1.5)
    return {
        ("defaults", 1): Goal(1.15),
        ("no NLL", 1): Goal(1.3),
        ("defaults", 64): Goal(1.5),
        ("no NLL", 64): Goal(1.8),
    }.get((variant, batch))


class Translator:
    """Beam search of one model over fixed sources.

    Args:
        system: what to translate with.
        batches: the sources.
        length: tokens of every translation, without the end of the sentence.
    """

    def __init__(self, system: models.System, batches: List[dict], length: int):
        self.model, self.batches, self.length = system.for_inference(), batches, length
        self.generator = SequenceGenerator(
            [self.model], models.dictionary(), beam_size=BEAM, max_len_a=0, max_len_b=length, min_len=length
        )

    @torch.no_grad()
    def translate(self) -> list:
        """The hypotheses of every sentence."""
        return [
            hypotheses
            for batch in self.batches
            for hypotheses in self.generator.generate([self.model], {"net_input": batch})
        ]

    def check(self) -> None:
        """Make sure that all hypotheses are as long as they should be: the comparison is void otherwise."""
        found = {len(hypothesis["tokens"]) for hypotheses in self.translate() for hypothesis in hypotheses}
        if found != {self.length + 1}:
            raise SystemExit(f"benchmarks: translations of {sorted(found)} tokens instead of {self.length + 1}.")


def run(settings: argparse.Namespace) -> Report:
    """Every variant of B against A, one sentence at a time and many."""
    length = 6 if settings.quick else 25
    comparisons = []
    for size in settings.sizes:
        for variant, words in within(settings, size, chosen(variants(size), settings)):
            systems = [models.build(size, options, settings.device) for options in (models.A, words)]
            facts = {"parameters_without_embeddings": [models.parameters(system.model) for system in systems]}
            for batch in (1, 4) if settings.quick else (1, 64):
                count = max(batch, 2 if settings.quick or settings.device == "cuda" else 8)
                taken = sources(count, settings.device)
                batches = cut(taken, batch)
                a, b = (Translator(system, batches, length) for system in systems)
                a.check()
                b.check()
                comparisons.append(
                    devices.compare(
                        f"{size}, {variant}, {batch} at once",
                        (a.translate, b.translate),
                        count,
                        "sentences/s",
                        settings,
                        goal(variant, batch, settings.device),
                        **facts,
                    )
                )
    return comparisons_report(comparisons, [*NOTES, *parameter_notes(comparisons)])


def cut(sentences: dict, batch: int) -> List[dict]:
    """Batches of so many sentences, in which no column is all padding."""
    parts = []
    for tokens, sizes in zip(*(sentences[name].split(batch) for name in ("src_tokens", "src_lengths"))):
        parts.append({"src_tokens": tokens[:, -int(sizes.max()) :], "src_lengths": sizes})
    return parts


def parameter_notes(comparisons: List[Comparison]) -> List[str]:
    """The parameters of A and of each variant, one line each."""
    lines = {}
    for comparison in comparisons:
        a, b = comparison.facts["parameters_without_embeddings"]
        lines[comparison.name.rsplit(", ", 1)[0]] = f"parameters without embeddings: A {a:,}, B {b:,} ({b / a:.1%})"
    return [f"{name}: {text}" for name, text in lines.items()]
