"""The quick start's two systems, trained alike."""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from common import command, failures, files, provenance, training_log, translate
from quickstart import report
from quickstart.progress import Progress

SIZES = (
    *("--encoder-layers", 6, "--encoder-embed-dim", 128, "--encoder-ffn-embed-dim", 256),
    *("--decoder-layers", 6, "--decoder-embed-dim", 128, "--decoder-ffn-embed-dim", 256),
    *("--encoder-attention-heads", 4, "--decoder-attention-heads", 4),
)
MODELS = {
    "sret_transformer": ("--arch", "sret_transformer_tiny"),
    # Of the same virtual depth and width.
    "transformer": ("--arch", "transformer", "--encoder-normalize-before", "--decoder-normalize-before", *SIZES),
}
# The safe loading of checkpoints comes with the plugin, so both systems use it.
PLUGIN = ("--user-dir", files.REPOSITORY / "sret_fairseq")
LOG_INTERVAL = 20
NEVER = 10**6


def settings(updates: int) -> list[object]:
    """The options of fairseq-train that both systems share."""
    return [
        *("--share-all-embeddings", "--dropout", 0),
        *("--criterion", "chunked_label_smoothed_cross_entropy", "--label-smoothing", 0.1),
        *("--optimizer", "fused_adam", "--adam-betas", "(0.9, 0.98)", "--clip-norm", 1.0, "--lr", 2.5e-3),
        *("--lr-scheduler", "polynomial_decay", "--warmup-updates", updates // 10, "--total-num-update", updates),
        # fairseq drops the sentences of a last batch that is no multiple of 8 unless told otherwise.
        *("--max-tokens", 1024, "--required-batch-size-multiple", 1, "--num-workers", 0, "--max-update", updates),
        *("--distributed-world-size", 1, "--seed", 1, "--no-epoch-checkpoints"),
        # A small text has many epochs; what matters are the last checkpoint and some points for a curve.
        *("--save-interval", NEVER, "--validate-interval", NEVER, "--validate-interval-updates", -(-updates // 6)),
        *("--log-format", "json", "--log-interval", min(updates, LOG_INTERVAL)),
    ]


def environment() -> list[object]:
    """What the speed and, by rounding, the weights depend on beside the options."""
    code = sorted((files.REPOSITORY / "sret_fairseq").rglob("*.py"))
    return [os.environ["OMP_NUM_THREADS"], provenance.packages(), translate.fingerprint(code)]


def run_logged(program: Sequence[object], log: Path, show: Callable[[str], str | None]) -> None:
    """Run a program, keep what it says in a log, and print what ``show`` makes of each line of it."""
    with (
        open(log, "w", encoding="utf-8") as file,
        command.child(
            program, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", errors="replace"
        ) as process,
    ):
        for line in process.stdout:
            file.write(line)
            file.flush()
            if text := show(line):
                print(text, flush=True)
        status = process.wait()
    if status:
        said = log.read_text(encoding="utf-8", errors="replace").splitlines()
        raise SystemExit(failures.sentence(f"quickstart: {program[2]}", said, status, log))


def train(name: str, data_bin: Path, updates: int, folder: Path, progress: Progress) -> None:
    """Train a system unless that was done with the same data, options, packages and code."""
    gpus = provenance.hardware_asked()["gpus"][:1]
    options = list(map(str, [*PLUGIN, *MODELS[name], *settings(updates), *provenance.precision(gpus)]))
    step = f"train {name}"

    def show(line: str) -> str | None:
        text = training_log.readable(line, updates)
        tag, values = training_log.parse_line(line)
        if tag == "train_inner":
            text += "   " + progress.left(step, values["num_updates"] / updates)
        return text

    def make() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        program = [sys.executable, "-m", "fairseq_cli.train", data_bin, *options, "--save-dir", folder]
        run_logged(program, folder / "train.log", show)

    key = [options, translate.fingerprint(sorted(data_bin.iterdir())), environment()]
    progress.begin(step)
    translate.once(folder / "checkpoint_last.pt", key, make)
    progress.end(step)


def translate_test(
    name: str, data_bin: Path, test: report.TestSet, folder: Path, args: argparse.Namespace, progress: Progress
) -> report.Measured:
    """Translate the test set with a trained system, and measure all there is to measure."""
    step = f"translate with {name}"
    progress.begin(step)
    options = ["--source-lang", args.source_lang, "--target-lang", args.target_lang, "--beam", 5]
    # Hardly trained, a system does not know when to end.
    options += ["--max-len-b", 10 if args.quick else 100, "--remove-bpe", "sentencepiece", "--num-workers", 0]
    count = {"test": len(test.sources)}
    _, found = translate.translate_run(folder, data_bin, count, 1, list(map(str, options)), folder / "translation")
    progress.end(step)
    return report.measure(found["test"], folder / "train.log", test)
