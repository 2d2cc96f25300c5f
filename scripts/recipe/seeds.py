"""Means and standard deviations over the seeds of a sweep."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from common import files, provenance, training_log
from common.output import markdown
from recipe import record

Key = str | tuple[str, str]  # a quantity, or the set and the kind of a score


class Run(NamedTuple):
    """A training: a model of the recipe, a seed, and further options of fairseq-train."""

    model: str
    seed: str
    options: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The model, and the options that make it another one: what runs with several seeds share."""
        return "-".join([self.model, *(word.strip("-").replace("/", "_") for word in self.options)])


def read(folder: Path) -> dict[str, Any]:
    """What a run's folder tells: parameters, updates, seconds of training, speed of translation, and scores.

    ``valid_nll`` is the last validation's negative log-likelihood, in bits a token. ``scores`` are
    {(set, kind): (value, how it was made)}, without those that could not be made.
    """
    path = folder / "evaluation" / "results.json"
    try:
        (system,) = files.read_object(path, systems=dict)["systems"].values()
        found = {name: system.get(name) for name in ("parameters", "updates", "sentences_per_second")}
        found["averaged"] = len(system.get("averaged", []))
        found["scores"] = {
            (split, kind): (score["value"], score["how"])
            for split, kinds in system["scores"].items()
            for kind, score in kinds.items()
            if score["value"] is not None
        }
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        sentence = f"{path}: 'systems' does not hold one run with its 'scores'; evaluate it anew."
        raise SystemExit(sentence) from error
    found["budget"] = record.budget(folder)
    found["training_seconds"] = record.seconds(folder)
    validations = training_log.curves(folder / "train.log")["valid"]
    found["valid_nll"] = validations[-1][1] if validations else None
    return found


def check_same_kind(runs: Mapping[Run, Mapping[str, Any]]) -> dict[Key, str]:
    """Exit with one sentence if two runs were trained or have scores of one name that were made differently."""
    budgets = {found["budget"]: run for run, found in runs.items() if found["budget"]}
    if len(budgets) > 1:
        trained = "; ".join(f"{run.name} seed {run.seed}: {budget}" for budget, run in budgets.items())
        raise SystemExit(
            f"sweep: runs of different trainings do not compare; delete or move one kind of them. {trained}."
        )
    made = {}
    for run, facts in runs.items():
        for key, (_, how) in facts["scores"].items():
            if made.setdefault(key, how) != how:
                raise SystemExit(
                    f"sweep: the {' '.join(key)} of {run.name} seed {run.seed} is '{how}', that of others "
                    f"'{made[key]}': they do not compare; evaluate all runs anew on one machine."
                )
    return made


def averages(runs: Mapping[Run, Mapping[str, Any]]) -> str:
    """A line for the table on the number of checkpoints averaged, which ought to be the same for all runs."""
    counts = {}
    for run, facts in runs.items():
        counts.setdefault(facts["averaged"], []).append(f"{run.name} seed {run.seed}")
    if len(counts) < 2:
        return f"checkpoints averaged: {', '.join(map(str, counts))}"
    each = "; ".join(f"{count} of {', '.join(names)}" for count, names in counts.items())
    return f"CAUTION, different numbers of checkpoints were averaged, which hardly compare: {each}"


def summarise(values: Sequence[float]) -> dict[str, Any]:
    """Number, mean and sample standard deviation (None for a single value), and the values."""
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return {"n": len(values), "mean": statistics.mean(values), "deviation": deviation, "values": values}


def cell(summary: Mapping[str, Any] | None) -> str:
    """A summary as text."""
    if summary is None:
        return "-"
    digits = 0 if summary["mean"] >= 1000 else 2
    deviation = "" if not summary["deviation"] else f" ± {summary['deviation']:,.{digits}f}"
    return f"{summary['mean']:,.{digits}f}{deviation} (n = {summary['n']})"


def gather(done: Sequence[tuple[Run, Path]], failed: Mapping[str, str], out: Path, **facts: Any) -> None:
    """Print and write the table of a sweep.

    Args:
        done: [(run, its folder)].
        failed: {name of a run that failed: what failed}.
        out: the folder for table.txt and results.json.
        facts: what else results.json shall say.
    """
    runs = {run: read(folder) for run, folder in done}
    made = check_same_kind(runs)
    models = {}
    for run, found in runs.items():
        kinds = models.setdefault(run.name, {})
        for key, (value, _) in found["scores"].items():
            kinds.setdefault(key, []).append(value)
        for name in ("parameters", "updates", "training_seconds", "valid_nll"):
            if found[name] is not None:
                kinds.setdefault(name, []).append(found[name])
    models = {name: {key: summarise(values) for key, values in kinds.items()} for name, kinds in models.items()}
    shown = dict.fromkeys(key for summaries in models.values() for key in summaries)
    rows = [["", *(label(key) for key in shown)]]
    rows += [[name, *(cell(summaries.get(key)) for key in shown)] for name, summaries in models.items()]
    notes = [f"{label(key)}: {how}" for key, how in made.items()]
    lines = []
    if runs:
        lines += [markdown(rows), "", "mean ± sample standard deviation over n seeds", averages(runs), *notes]
    lines += [f"FAILED, not in the table: {name} ({what})" for name, what in failed.items()]
    text = "\n".join(lines)
    results = {
        **facts,
        "date": record.now(),
        "packages": provenance.packages(),
        **provenance.commit(files.REPOSITORY),
        "runs": [as_json(run, found) for run, found in runs.items()],
        "failed": failed,
        "models": {
            model: {label(key): {**summary, "how": made.get(key)} for key, summary in summaries.items()}
            for model, summaries in models.items()
        },
    }
    files.write_text(out / "table.txt", f"{text}\n")
    files.write_json(out / "results.json", results)
    print(f"\n{text}\n\nAll numbers: {out / 'results.json'}")


def label(key: Key) -> str:
    """The name of a column."""
    return key.replace("_", " ") if isinstance(key, str) else " ".join(key)


def as_json(run: Run, found: Mapping[str, Any]) -> dict[str, Any]:
    """One run for JSON."""
    scores = {label(key): value for key, (value, _) in found["scores"].items()}
    return {"model": run.model, "options": list(run.options), "seed": run.seed, **found, "scores": scores}
