"""Compare trained systems: score their translations of the test set, print a table, draw the curves.

Every ``--system NAME=FOLDER`` is a folder with the ``train.log`` of ``fairseq-train --log-format json`` and
the ``generate.log`` of ``fairseq-generate`` in it. Writes ``results.json``, which holds every number, and
``learning_curves.png`` into ``--out``.
"""

import argparse
import datetime
import os
import platform
from pathlib import Path

from common import files, lines, output, provenance, scores, training_log
from common.output import markdown

COLUMNS = (
    "system",
    "parameters",
    "virtual depth",
    "BLEU",
    "chrF",
    "training tokens/s",
    "sentences/s decoded",
)


def measure(folder, references, language):
    """Return everything measured of the system in ``folder``, and its translations."""
    translations, speed = scores.read_translations(folder / "generate.log", len(references))
    numbers = training_log.summarise(folder / "train.log")
    for name, (value, signature) in scores.text_scores(translations, references, language).items():
        key = {"sacreBLEU": "bleu", "chrF": "chrf"}[name]
        numbers.update({key: value, f"{key}_signature": signature})
    numbers["decoded_sentences_per_second"] = speed
    return numbers, translations


def table(systems):
    """Return the table as text, in Markdown."""
    rows = [COLUMNS]
    for name, numbers in systems.items():
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
    return markdown(rows)


def sample_text(samples):
    """Return the sample translations as text, one line a version."""
    width = max(len(name) for name in samples[0])
    return "\n\n".join("\n".join(f"{name:{width}}  {text}" for name, text in sample.items()) for sample in samples)


def environment():
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


def named_folder(text):
    """Return ``(name, folder)`` of a NAME=FOLDER argument."""
    name, equals, folder = text.partition("=")
    if not (name and equals and Path(folder).is_dir()):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=FOLDER with an existing folder")
    return name, Path(folder)


def parse_args():
    """Return the command line's options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--system", type=named_folder, action="append", required=True, metavar="NAME=FOLDER")
    parser.add_argument("--corpus", type=Path, required=True, help="folder that scripts/corpus.py wrote")
    parser.add_argument("--languages", nargs=2, required=True, metavar=("SOURCE", "TARGET"))
    parser.add_argument("--samples", type=int, default=5, help="sample translations to print (default: 5)")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    args = parser.parse_args()
    if args.samples < 1:
        parser.error(f"--samples {args.samples} must be at least 1.")
    return args


def main():
    """Run the command line."""
    args = parse_args()
    output.picture_folder(args.out)
    sources, references = (list(lines.read_lines(args.corpus / f"test.{language}")) for language in args.languages)
    corpus = files.read_json(args.corpus / "corpus.json")
    systems, versions = {}, {"source": sources, "reference": references}
    for name, folder in args.system:
        systems[name], versions[name] = measure(folder, references, args.languages[1])
    samples = [dict(zip(versions, texts, strict=True)) for texts in lines.aligned(versions)][: args.samples]

    output.draw_curves(systems, [("train", "valid")], args.out / "learning_curves.png")
    results = {**environment(), "corpus": corpus, "systems": systems, "samples": samples}
    files.write_json(args.out / "results.json", results)

    any_system = next(iter(systems.values()))
    print(f"\n{table(systems)}\n\nBLEU {any_system['bleu_signature']}\nchrF {any_system['chrf_signature']}")
    print(f"Test: {len(references)} sentences. The first {len(samples)}:\n\n{sample_text(samples)}\n")
    print(f"Learning curves: {args.out / 'learning_curves.png'}\nAll numbers: {args.out / 'results.json'}")


if __name__ == "__main__":
    main()
