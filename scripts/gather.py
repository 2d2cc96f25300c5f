"""Means and standard deviations over the seeds of a sweep."""

import json
import statistics

import files
from tables import markdown


def read_scores(path):
    """One run's scores as {(set, kind): (value, how it was made)}, those that could not be made left out."""
    (system,) = json.loads(path.read_text(encoding="utf-8"))["systems"].values()
    return {
        (split, kind): (score["value"], score["how"])
        for split, kinds in system["scores"].items()
        for kind, score in kinds.items()
        if score["value"] is not None
    }


def check_same_kind(runs):
    """Exit with one sentence if two runs have scores of one name that were made differently."""
    made = {}
    for run, scores in runs.items():
        for key, (_, how) in scores.items():
            if made.setdefault(key, how) != how:
                raise SystemExit(
                    f"sweep: the {' '.join(key)} of {run.model} seed {run.seed} is '{how}', that of others "
                    f"'{made[key]}': they do not compare; evaluate all runs anew on one machine."
                )
    return made


def summarise(values):
    """Number, mean and sample standard deviation (None for a single value), and the values."""
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return {"n": len(values), "mean": statistics.mean(values), "deviation": deviation, "values": values}


def cell(summary):
    """A summary as text."""
    if summary is None:
        return "-"
    deviation = "" if summary["deviation"] is None else f" ± {summary['deviation']:.2f}"
    return f"{summary['mean']:.2f}{deviation} (n = {summary['n']})"


def gather(done, failed, out, **facts):
    """Print and write the table of a sweep.

    Args:
        done: [(run, its results.json)], a run having a ``model`` and a ``seed``.
        failed: {name of a run that failed: what failed}.
        out: the folder for table.txt and results.json.
        facts: what else results.json shall say.
    """
    runs = {run: read_scores(path) for run, path in done}
    made = check_same_kind(runs)
    models = {}
    for model in dict.fromkeys(run.model for run in runs):
        models[model] = {
            key: summarise([scores[key][0] for run, scores in runs.items() if run.model == model and key in scores])
            for key in made
            if any(run.model == model and key in scores for run, scores in runs.items())
        }
    rows = [["", *models]]
    rows += [[" ".join(key), *(cell(summaries.get(key)) for summaries in models.values())] for key in made]
    notes = [f"{' '.join(key)}: {how}" for key, how in made.items()]
    lines = [markdown(rows), "", "mean ± sample standard deviation over n seeds", *notes]
    lines += [f"FAILED, not in the table: {name} ({what})" for name, what in failed.items()]
    text = "\n".join(lines)
    results = {
        **facts,
        "runs": {f"{run.model} seed {run.seed}": str(path) for run, path in done},
        "failed": failed,
        "models": {
            model: {" ".join(key): {**summary, "how": made[key]} for key, summary in summaries.items()}
            for model, summaries in models.items()
        },
    }
    files.write_text(out / "table.txt", f"{text}\n")
    files.write_json(out / "results.json", results)
    print(f"\n{text}\n\nAll numbers: {out / 'results.json'}")
