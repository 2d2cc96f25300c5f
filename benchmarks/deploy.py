"""Sentences a second of processor time: a bundle without fairseq beside fairseq itself and CTranslate2.

CTranslate2 runs where it is installed (pip install ctranslate2); it knows fairseq's transformer alone.
"""

import argparse
import importlib.util
import tempfile
import time
import types
from pathlib import Path
from typing import Callable, Dict, List

import torch

from benchmarks import models
from benchmarks.comparison import Comparison, Goal, alternate
from benchmarks.decode import BEAM, Translator
from benchmarks.report import Report, comparisons_report
from sret_fairseq.export import bundle
from sret_translate.bundle import Bundle
from sret_translate.search import Settings, search

WORDS = 4_004  # beside the four special symbols
SOURCE, LENGTH = 25, 25  # tokens of a source, its end included, and of a translation
FAIRSEQ, WHOLE, INT8 = "transformer in fairseq", "bundle", "bundle, int8"
CT2, CT2_INT8 = "transformer in CTranslate2", "transformer in CTranslate2, int8"
NOTES = [
    f"A: {FAIRSEQ}, 6+6 layers, pre-norm. B: sret_transformer, 3 blocks x 2 passes a side, same width.",
    f"Beam {BEAM}, sources of {SOURCE} tokens, translations of {LENGTH}, {WORDS + 4:,} tokens in the vocabulary.",
    "The models are untrained, their coefficients moved from 1.",
    "Processor time of one thread.",
]
GOALS = {
    ("tiny", 1, FAIRSEQ, WHOLE): Goal(6.0),
    ("tiny", 1, CT2, WHOLE): Goal(0.6),
    ("tiny", 64, FAIRSEQ, WHOLE): Goal(2.5),
    ("base", 1, WHOLE, INT8): Goal(1.3),
    ("base", 64, WHOLE, INT8): Goal(1.3),
}
PAIRS = [(FAIRSEQ, WHOLE), (FAIRSEQ, INT8), (CT2, WHOLE), (CT2_INT8, INT8), (WHOLE, INT8)]


def run(settings: argparse.Namespace) -> Report:
    """Every system, one sentence at a time and many, in turn."""
    models.WORDS = WORDS  # before anything is built
    comparisons, notes = [], list(NOTES)
    for size in settings.sizes:
        with tempfile.TemporaryDirectory() as folder:
            transformer = models.build(size, models.A, "cpu")
            facts = write_models(size, transformer, Path(folder))
            notes += [f"{size}: {name} {value:.3f}" for name, value in facts.items()]
            for batch in (1, 4) if settings.quick else (1, 64):
                sentences = 4 if settings.quick else max(batch, 8)
                comparisons += compare(size, batch, sentences, transformer, Path(folder), settings.pairs)
    return comparisons_report(comparisons, notes)


def write_models(size: str, transformer: models.System, folder: Path) -> Dict[str, float]:
    """Write the bundles, and fairseq's model for CTranslate2; the sizes of the bundles beside the parameters'."""
    model = models.build(size, models.B, "cpu").model
    for name, parameter in model.named_parameters():
        if ".coefficients." in name:
            torch.nn.init.uniform_(parameter, -0.2, 0.2)
    languages = types.SimpleNamespace(source_lang="de", target_lang="en")
    dictionary = models.dictionary()
    task = types.SimpleNamespace(source_dictionary=dictionary, target_dictionary=dictionary, cfg=languages)
    sizes = {}
    for name in (WHOLE, INT8):
        config = bundle.write(model, task, folder / name, int8=name == INT8)
        stored = sum(length for length, _ in config["files"].values())
        sizes[f"bytes of the {name}, by those of the parameters in float32:"] = stored / (4 * config["parameters"])
    if importlib.util.find_spec("ctranslate2"):
        convert(transformer, folder)
    return sizes


def convert(transformer: models.System, folder: Path) -> None:
    """Convert fairseq's transformer for CTranslate2."""
    from ctranslate2.converters import FairseqConverter

    (folder / "data").mkdir()
    for language in ("de", "en"):
        models.dictionary().save(str(folder / "data" / f"dict.{language}.txt"))
    args = transformer.cfg.model
    args.source_lang, args.target_lang, args.task = "de", "en", "translation"
    args.left_pad_source, args.left_pad_target = True, False
    torch.save({"args": args, "model": transformer.model.state_dict()}, folder / "transformer.pt")
    FairseqConverter(str(folder / "transformer.pt"), str(folder / "data")).convert(str(folder / CT2))


def compare(
    size: str, batch: int, sentences: int, transformer: models.System, folder: Path, pairs: int
) -> List[Comparison]:
    """Measure all systems in turn with so many sentences at once; the pairs that the report shows."""
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(4, WORDS + 4, (sentences, SOURCE), generator=generator)
    tokens[:, -1] = 2
    batches = list(tokens.split(batch))
    translators = {
        FAIRSEQ: fairseq(transformer, batches),
        WHOLE: runtime(folder / WHOLE, batches),
        INT8: runtime(folder / INT8, batches),
    }
    if (folder / CT2).exists():
        translators[CT2] = ctranslate2(folder / CT2, batches, "float32")
        translators[CT2_INT8] = ctranslate2(folder / CT2, batches, "int8")
    measures = {name: lambda translate=translate: rate(translate, sentences) for name, translate in translators.items()}
    for translate in translators.values():
        translate()
    samples = alternate(measures, pairs, f"{size}, {batch} at once")
    return [
        Comparison(
            f"{size}, {batch} at once: {b} / {a}", "sentences/s", samples[a], samples[b], GOALS.get((size, batch, a, b))
        )
        for a, b in PAIRS
        if a in samples
    ]


def rate(translate: Callable[[], None], sentences: int) -> float:
    """Sentences a second of processor time."""
    start = time.process_time()
    translate()
    return sentences / (time.process_time() - start)


def fairseq(system: models.System, batches: List[torch.Tensor]) -> Callable[[], None]:
    """Translating in fairseq."""
    inputs = [{"src_tokens": part, "src_lengths": torch.full((len(part),), SOURCE)} for part in batches]
    translator = Translator(system, inputs, LENGTH)
    translator.check()
    return translator.translate


def runtime(folder: Path, batches: List[torch.Tensor]) -> Callable[[], None]:
    """Translating with a bundle."""
    graphs, settings = Bundle(str(folder)), Settings(beam=BEAM, min_len=LENGTH, max_len_b=LENGTH)

    def translate() -> None:
        for part in batches:
            found = search(graphs.encoder, graphs.decoder, part.tolist(), settings, most=LENGTH)
            check({len(one.tokens) for hypotheses in found for one in hypotheses})

    return translate


def ctranslate2(folder: Path, batches: List[torch.Tensor], compute_type: str) -> Callable[[], None]:
    """Translating with CTranslate2."""
    from ctranslate2 import Translator as OtherTranslator

    translator = OtherTranslator(str(folder), compute_type=compute_type, inter_threads=1, intra_threads=1)
    symbols = models.dictionary().symbols
    words = [[[symbols[token] for token in row[:-1]] for row in part.tolist()] for part in batches]
    length = {"min_decoding_length": LENGTH, "max_decoding_length": LENGTH}

    def translate() -> None:
        for part in words:
            results = translator.translate_batch(part, beam_size=BEAM, num_hypotheses=BEAM, **length)
            check({len(hypothesis) for result in results for hypothesis in result.hypotheses})

    return translate


def check(lengths: set) -> None:
    """Make sure that all translations are as long as they should be: the comparison is void otherwise."""
    if lengths != {LENGTH}:
        raise SystemExit(f"benchmarks: translations of {sorted(lengths)} tokens instead of {LENGTH}.")
