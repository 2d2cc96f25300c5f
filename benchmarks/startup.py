"""Seconds from the start of fairseq-interactive to its first translation, in processes that alternate."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import models
from benchmarks.comparison import SECONDS, Comparison, Goal, alternate
from benchmarks.options import REPOSITORY
from benchmarks.report import Report, comparisons_report

LENGTH = 10
SENTENCE = "w1 w2 w3 w4 w5\n"
NOTES = [
    "A: fairseq's transformer, 6+6 layers, pre-norm. B: sret_transformer, defaults. Untrained, the same dictionary.",
    f"Beam 5, a sentence of 5 words, {LENGTH} tokens of output. Both commands load the plugin: fairseq's checkpoints "
    "cannot be read by a recent torch without it.",
]


def write_checkpoint(folder: Path, size: str, words: str, device: str) -> Path:
    """Save an untrained model as fairseq-train does."""
    trainer = models.build(size, words, device).trainer()
    trainer.consolidate_optimizer()  # saving wants it, also on one device
    return Path(trainer.save_checkpoint(str(folder / "model.pt"), extra_state={}))


def command(data: Path, checkpoint: Path, device: str):
    """fairseq-interactive on a checkpoint."""
    program = Path(sys.executable).parent / "fairseq-interactive"
    words = f"--source-lang xx --target-lang yy --beam 5 --max-len-a 0 --max-len-b {LENGTH} --min-len {LENGTH}".split()
    plugin = ["--user-dir", str(REPOSITORY / "sret_fairseq")]
    cpu = ["--cpu"] if device == "cpu" else []
    return [str(program), str(data), "--path", str(checkpoint), *plugin, *words, *cpu]


def first_translation(words) -> float:
    """Start the command, give it a sentence, and return the seconds until its translation comes."""
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        process.stdin.write(SENTENCE)
        process.stdin.close()
        taken = None
        for line in process.stdout:  # to the end, so that the next one does not start beside this one
            if line.startswith("H-0"):
                taken = time.perf_counter() - start
        process.stdout.close()
        if process.wait() or taken is None:
            errors.seek(0)
            raise SystemExit(f"benchmarks: fairseq-interactive failed; its last words:\n{errors.read()[-2000:]}")
    return taken


def run(settings) -> Report:
    """Both commands in turn."""
    comparisons = []
    for size in settings.sizes:
        with tempfile.TemporaryDirectory() as folder:
            for language in ("xx", "yy"):
                models.dictionary().save(f"{folder}/dict.{language}.txt")
            commands = {}
            for name, words in (("A", models.A), ("B", models.B)):
                place = Path(folder) / name
                place.mkdir()
                checkpoint = write_checkpoint(place, size, words, settings.device)
                commands[name] = command(Path(folder), checkpoint, settings.device)
            measures = {name: lambda words=words: first_translation(words) for name, words in commands.items()}
            for measure in measures.values():
                measure()  # files come from the disk the first time
            samples = alternate(measures, settings.pairs, f"{size}, start-up")
        comparisons.append(Comparison(f"{size}, defaults", SECONDS, samples["A"], samples["B"], Goal(1.0)))
    return comparisons_report(comparisons, NOTES)
