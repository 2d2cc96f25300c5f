"""What evaluate.py measures of a run, and how it is shown."""

from common import scores
from common import translate as translation
from common.tables import markdown
from common.training_log import PARAMETERS
from recipe import record as run_record
from recipe import resume

SPLITS = ("valid", "test")


def read_lines(path):
    """The lines of a text, divided by nothing but line feeds."""
    try:
        return path.read_bytes().decode("utf-8").removesuffix("\n").split("\n")
    except OSError as error:
        raise SystemExit(f"evaluate: {path}: {error.strerror}; run prepare.sh, or give --data DIR.") from error


def read_sets(data, languages, sacrebleu_set=None):
    """For each split the detokenised ``source`` and ``reference``, the ``tokenised`` reference, and what they are."""
    sets = {}
    for split in SPLITS:
        source, reference = (read_lines(data / "reference" / f"{split}.{language}") for language in languages)
        tokenised = [line.replace("@@ ", "") for line in read_lines(data / "bpe" / f"{split}.{languages[1]}")]
        if not len(source) == len(reference) == len(tokenised):
            raise SystemExit(f"evaluate: the {split} sets under {data} differ in length; run prepare.sh again.")
        name = f"{data / 'reference' / split}.{languages[1]}"
        sets[split] = {"source": source, "reference": reference, "tokenised": tokenised, "from": name, "signature": {}}
    if sacrebleu_set:
        pair = "-".join(languages)
        lines, problem = scores.sacrebleu_reference(sacrebleu_set, pair, len(sets["test"]["source"]))
        if lines:
            signature = {"test": sacrebleu_set, "lang": pair}
            sets["test"].update(reference=lines, signature=signature, **{"from": f"sacreBLEU's {sacrebleu_set}"})
        else:
            print(f"evaluate: {problem}: the test set is scored against {sets['test']['from']}.", flush=True)
    return sets


def score_set(texts, hypotheses, log, language, compounds):
    """All Scores of tokenised hypotheses as {name: Score}, and their detokenised text."""
    text = scores.detokenise(hypotheses, language)
    result = {"tokenised BLEU": scores.generate_bleu(log)}
    if compounds:
        result["compound-split BLEU"] = scores.compound_split_bleu(hypotheses, texts["tokenised"])
    result.update(scores.sacre_scores(text, texts["reference"], **texts["signature"]))
    result["COMET"] = scores.comet(texts["source"], text, texts["reference"])
    return result, text


def measure(folder, args, sets, languages):
    """Everything about one run, and its translations of the test set."""
    counts = {split: len(texts["source"]) for split, texts in sets.items()}
    options = ["--source-lang", languages[0], "--target-lang", languages[1], *args.generate_words]
    checkpoints, translations = translation.system_translations(
        folder, args.data / "data-bin", counts, args.last, options, args.out / folder.name
    )
    log = folder / "train.log"
    parameters = PARAMETERS.search(log.read_text(encoding="utf-8")) if log.exists() else None
    system = {
        "folder": str(folder),
        "model": (run_record.read(folder) or {}).get("model"),
        "updates": resume.updates_done(folder),
        "averaged": [path.name for path in checkpoints],
        "parameters": int(parameters[1].replace(",", "")) if parameters else None,
        "sentences_per_second": translations["test"][1],
        "scores": {},
    }
    for split, (hypotheses, _, said) in translations.items():
        kinds, text = score_set(sets[split], hypotheses, said, languages[1], args.compound_split)
        system["scores"][split] = {name: score._asdict() for name, score in kinds.items()}
    return system, text


def table(systems):
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


def notes(systems, sets):
    """What has to be quoted with the scores, and what they were made against."""
    lines = []
    for split in SPLITS:
        lines.append(f"{split}: {len(sets[split]['source']):,} sentences; reference {sets[split]['from']}")
        for kind, score in next(iter(systems.values()))["scores"][split].items():
            lines.append(f"  {kind}: {score['how']}")
    return "\n".join(lines)


def comparison_text(comparisons):
    """The paired bootstrap as text."""
    return "\n".join(
        f"{found['system']} against {found['against']}, test {found['metric']}: {found['difference']:+.2f}, "
        f"p = {found['p_value']:.4f} (paired bootstrap; {found['signature']})"
        for found in comparisons
    )


def report(systems, sets, comparisons):
    """The table, what has to be quoted with it, and the comparisons, as text."""
    return "\n\n".join(filter(None, (table(systems), notes(systems, sets), comparison_text(comparisons))))
