"""What evaluate.py measures of a run, and how it is shown."""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from common import lines, scores, translate
from common.output import markdown
from common.training_log import PARAMETERS
from common.words import counted
from recipe import record

SPLITS = ("valid", "test")


def read_text(path: Path) -> list[str]:
    """The lines of a text that prepare.sh made."""
    if not path.exists():
        raise SystemExit(f"evaluate: {path} does not exist; run prepare.sh, or give --data DIR.")
    return list(lines.read_lines(path))


def read_sets(data: Path, languages: Sequence[str], sacrebleu_set: str | None = None) -> dict[str, dict[str, Any]]:
    """For each split the detokenised ``source`` and ``reference``, the ``tokenised`` reference, and what they are."""
    sets = {}
    for split in SPLITS:
        source, reference = (read_text(data / "reference" / f"{split}.{language}") for language in languages)
        tokenised = [line.replace("@@ ", "") for line in read_text(data / "bpe" / f"{split}.{languages[1]}")]
        if not len(source) == len(reference) == len(tokenised):
            raise SystemExit(f"evaluate: the {split} sets under {data} differ in length; run prepare.sh again.")
        name = f"{data / 'reference' / split}.{languages[1]}"
        sets[split] = {"source": source, "reference": reference, "tokenised": tokenised, "from": name, "signature": {}}
    if sacrebleu_set:
        pair = "-".join(languages)
        found, problem = scores.sacrebleu_reference(sacrebleu_set, pair, len(sets["test"]["source"]))
        if found:
            signature = {"test": sacrebleu_set, "lang": pair}
            sets["test"].update(reference=found, signature=signature, **{"from": f"sacreBLEU's {sacrebleu_set}"})
        else:
            print(f"evaluate: {problem}: the test set is scored against {sets['test']['from']}.", flush=True)
    return sets


def score_set(
    texts: Mapping[str, Any], translation: translate.Translation, language: str, compounds: bool
) -> tuple[dict[str, scores.Score], list[str]]:
    """All Scores of a translation as {name: Score}, and its detokenised text."""
    text = scores.detokenise(translation.hypotheses, language)
    result = {"tokenised BLEU": scores.generate_bleu(translation.log)}
    if compounds:
        result["compound-split BLEU"] = scores.compound_split_bleu(translation.hypotheses, texts["tokenised"])
    result.update(scores.text_scores(text, texts["reference"], language, **texts["signature"]))
    result["COMET"] = scores.comet(texts["source"], text, texts["reference"])
    return result, text


def measure(
    folder: Path, args: argparse.Namespace, sets: Mapping[str, Mapping[str, Any]], languages: Sequence[str]
) -> tuple[dict[str, Any], list[str]]:
    """Everything about one run, and its translations of the test set."""
    counts = {split: len(texts["source"]) for split, texts in sets.items()}
    options = ["--source-lang", languages[0], "--target-lang", languages[1], *args.generate_args]
    averaged, translations = translate.translate_run(
        folder, args.data / "data-bin", counts, args.last, options, args.out / folder.name
    )
    log = folder / "train.log"
    parameters = PARAMETERS.search(log.read_text(encoding="utf-8")) if log.exists() else None
    system = {
        "folder": str(folder),
        "model": (record.read(folder) or {}).get("model"),
        "updates": record.updates_done(folder),
        "averaged": [path.name for path in averaged],
        "parameters": int(parameters[1].replace(",", "")) if parameters else None,
        "sentences_per_second": translations["test"].sentences_per_second,
        "scores": {},
    }
    for split, translation in translations.items():
        kinds, text = score_set(sets[split], translation, languages[1], args.compound_split)
        system["scores"][split] = {name: score._asdict() for name, score in kinds.items()}
    return system, text


def table(systems: Mapping[str, Mapping[str, Any]]) -> str:
    """The table as text: a row for each kind of score, a column for each system."""
    rows = [["", *systems]]
    for split in SPLITS:
        for kind in next(iter(systems.values()))["scores"][split]:
            found = [system["scores"][split][kind] for system in systems.values()]
            cells = [score["how"] if score["value"] is None else f"{score['value']:.2f}" for score in found]
            rows.append([f"{split} {kind}", *cells])
    for label, cell in (
        ("checkpoints averaged", lambda system: str(len(system["averaged"]))),
        ("updates", lambda system: f"{system['updates']:,}"),
        ("parameters", lambda system: f"{system['parameters']:,}" if system["parameters"] else "unknown"),
        ("test sentences/s", lambda system: f"{system['sentences_per_second']:.1f}"),
    ):
        rows.append([label, *map(cell, systems.values())])
    return markdown(rows)


def notes(systems: Mapping[str, Mapping[str, Any]], sets: Mapping[str, Mapping[str, Any]]) -> str:
    """What has to be quoted with the scores, and what they were made against."""
    found = []
    for split in SPLITS:
        found.append(f"{split}: {counted(len(sets[split]['source']), 'sentence')}; reference {sets[split]['from']}")
        for kind, score in next(iter(systems.values()))["scores"][split].items():
            found.append(f"  {kind}: {score['how']}")
    return "\n".join(found)


def comparison_text(comparisons: Iterable[Mapping[str, Any]]) -> str:
    """The paired bootstrap as text."""
    return "\n".join(
        f"{found['system']} against {found['against']}, test {found['metric']}: {found['difference']:+.2f}, "
        f"p = {found['p_value']:.4f} (paired bootstrap; {found['signature']})"
        for found in comparisons
    )


def report(
    systems: Mapping[str, Mapping[str, Any]],
    sets: Mapping[str, Mapping[str, Any]],
    comparisons: Iterable[Mapping[str, Any]],
) -> str:
    """The table, what has to be quoted with it, and the comparisons, as text."""
    return "\n\n".join(filter(None, (table(systems), notes(systems, sets), comparison_text(comparisons))))
