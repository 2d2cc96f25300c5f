"""What the quick start shows of its systems: samples, the table, the curves, and a file with every number."""

import argparse
import datetime
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from common import files, lines, output, provenance, scores, training_log, translate
from common.words import counted

SAMPLES = 5
COLUMNS = (
    "system",
    "parameters",
    "virtual depth",
    "BLEU",
    "chrF",
    "training tokens/s",
    "sentences/s decoded",
)


class TestSet(NamedTuple):
    """The held-out sentences and their translations, and the target language."""

    sources: list[str]
    references: list[str]
    language: str


class Measured(NamedTuple):
    """A system's translations of the test set, and its numbers by name."""

    translations: list[str]
    numbers: dict[str, Any]


def read_test(corpus: Path, languages: Sequence[str]) -> TestSet:
    """Read the test set of a corpus."""
    return TestSet(*(list(lines.read_lines(corpus / f"test.{language}")) for language in languages), languages[1])


def measure(translation: translate.Translation, log: Path, test: TestSet) -> Measured:
    """Everything measured of a system, from its translations of the test set and the log of its training."""
    numbers = training_log.summarise(log)
    for name, score in scores.text_scores(translation.hypotheses, test.references, test.language).items():
        key = {"sacreBLEU": "bleu", "chrF": "chrf"}[name]
        numbers.update({key: score.value, f"{key}_signature": score.how})
    numbers["decoded_sentences_per_second"] = translation.sentences_per_second
    return Measured(translation.hypotheses, numbers)


def table(measured: Mapping[str, Measured]) -> str:
    """Return the table as text, in Markdown."""
    rows = [COLUMNS]
    for name, (_, numbers) in measured.items():
        rows.append(
            (
                name,
                f"{numbers['parameters']:,}",
                f"{numbers['virtual_depth']}",
                f"{numbers['bleu']:.1f}",
                f"{numbers['chrf']:.1f}",
                f"{numbers['training_tokens_per_second']:,.0f}",
                f"{numbers['decoded_sentences_per_second']:.1f}",
            )
        )
    return output.markdown(rows)


def samples(measured: Mapping[str, Measured], test: TestSet) -> list[dict[str, str]]:
    """Return the first sentences of the test set, each with its reference and the systems' translations."""
    texts = {"source": test.sources, "reference": test.references}
    texts |= {name: system.translations for name, system in measured.items()}
    return [dict(zip(texts, row, strict=True)) for row in lines.aligned(texts)][:SAMPLES]


def sample_text(found: Sequence[Mapping[str, str]]) -> str:
    """Return samples as text, one line a version."""
    width = max(len(name) for name in found[0])
    return "\n\n".join("\n".join(f"{name:{width}}  {text}" for name, text in sample.items()) for sample in found)


def environment() -> dict[str, Any]:
    """Return the machine and the versions that the numbers depend on."""
    import torch

    packages = ("sret_fairseq", "ve-fairseq", "fairseq", "torch", "numpy", "sacrebleu", "sentencepiece")
    return {
        "date": datetime.date.today().isoformat(),
        "machine": f"{os.cpu_count()}-core {platform.machine()} CPU",
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "versions": provenance.versions(packages),
    }


def write(
    measured: Mapping[str, Measured], test: TestSet, args: argparse.Namespace, seconds: Mapping[str, float]
) -> None:
    """Write results.json and the curves, and print the table; of a quick run nothing is worth a table.

    Args:
        measured: the systems by name.
        test: what they translated.
        args: the command line's options.
        seconds: that each step took in this run, which skips what an earlier one did.
    """
    numbers = {name: system.numbers for name, system in measured.items()}
    picture, results = args.out / "learning_curves.png", args.out / "results.json"
    output.draw_curves({name: [of_one] for name, of_one in numbers.items()}, [("train", "valid")], picture)
    corpus = files.read_json(args.out / "corpus" / "corpus.json")
    found = {**environment(), "corpus": corpus, "systems": numbers, "samples": samples(measured, test)}
    found |= {"updates": args.updates, "seconds": dict(seconds)}
    files.write_json(results, found)
    if args.quick:
        print(
            f"\nEverything runs: two trainings of {counted(args.updates, 'update')}, translations, scores and a "
            "picture. So few\nupdates teach nothing: no translations or scores are shown. Leave out --quick for those."
        )
    else:
        any_system = next(iter(numbers.values()))
        print(f"\n{table(measured)}\n\nBLEU {any_system['bleu_signature']}\nchrF {any_system['chrf_signature']}")
        print(f"Test: {len(test.references)} held-out sentences.")
    print(f"\nLearning curves: {picture}\nAll numbers: {results}")
