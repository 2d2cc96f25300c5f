"""Translate sets with the average of a run's last checkpoints; what is there already is kept."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from common import checkpoints, command, failures, files, scores

OWN = ("--path", "--gen-subset")


class Translation(NamedTuple):
    """The tokenised translations of a set, how many sentences a second they took, and the log of fairseq-generate."""

    hypotheses: list[str]
    sentences_per_second: float
    log: str


def last_checkpoints(folder: Path, count: int) -> list[Path]:
    """The checkpoints to average: the last ``count`` of a run's updates, else of its epochs, else checkpoint_last.pt.

    A short run has fewer of them, or none.
    """
    for pattern in (checkpoints.UPDATE_FILE, checkpoints.EPOCH_FILE):
        found = checkpoints.numbered_checkpoints(folder, pattern)
        if found:
            return [path for _, path in found[-count:]]
    return [folder / "checkpoint_last.pt"]


def fingerprint(paths: Sequence[Path]) -> list[list[str | int]]:
    """What tells whether files are still the same."""
    return [[str(path), path.stat().st_size, path.stat().st_mtime_ns] for path in paths]


def once(output: Path, key: object, make: Callable[[], None]) -> None:
    """Call ``make`` unless it made ``output`` before from the same ``key``, which is kept beside it."""
    stamp = output.with_name(f"{output.name}.from.json")
    if output.exists() and stamp.exists() and files.read_json(stamp) == key:
        print(f"{output}: made before, skipped", flush=True)
        return
    stamp.unlink(missing_ok=True)
    make()
    files.write_json(stamp, key)


def average(paths: Sequence[Path], output: Path) -> None:
    """Write the average of checkpoints."""
    script = files.REPOSITORY / "scripts" / "average_checkpoints.py"
    with command.child([sys.executable, script, "--inputs", *paths, "--output", output]) as process:
        if process.wait():
            raise SystemExit("evaluate: the checkpoints cannot be averaged, as said above.")


def generate(
    data_bin: Path, model: Path | str, split: str, args: Sequence[str], log_path: Path, *, pieces: bool = False
) -> None:
    """Translate a set with fairseq-generate, which has to leave a hypothesis for each sentence in the log.

    Args:
        data_bin: the binarised text.
        model: a checkpoint, or several separated by colons.
        split: name of the set.
        args: further options of fairseq-generate.
        log_path: the log, which appears once all is translated.
        pieces: leave the hypotheses in pieces (BPE, SentencePiece).

    Raises:
        SystemExit: fairseq-generate fails, or ``args`` name another model or set.
    """
    for word in args:
        name = word.partition("=")[0]
        if len(name) > 2 and any(own.startswith(name) for own in OWN):  # argparse takes beginnings of options too
            raise SystemExit(f"{name}: the model and the set are chosen without it; leave it out.")
    if importlib.util.find_spec("fairseq") is None:
        raise SystemExit(command.missing("fairseq"))
    program = [
        *(sys.executable, "-m", "fairseq_cli.generate", data_bin, "--user-dir", files.REPOSITORY / "sret_fairseq"),
        *("--path", model, "--gen-subset", split),
        *([] if pieces else ["--remove-bpe", "--batch-size", 128]),
        *("--required-batch-size-multiple", 1, *args),  # with 8, the default, the last batch may be left out
    ]
    # Unbuffered, so that no warning lands within a translation.
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "env": {**os.environ, "PYTHONUNBUFFERED": "1"}}
    failed = log_path.with_name(f"{log_path.name}.failed")
    failed.unlink(missing_ok=True)
    with files.atomic(log_path) as temporary, open(temporary, "w", encoding="utf-8") as log:
        done = 0
        with command.child(program, encoding="utf-8", **pipe) as process:
            for line in process.stdout:
                log.write(line)
                done += line.startswith("D-")
                if line.startswith("D-") and done % 1000 == 0:
                    print(f"{split}: {done:,} sentences translated", flush=True)
            process.wait()
        if process.returncode:
            log.close()
            temporary.replace(failed)
            said = failed.read_text(encoding="utf-8").splitlines()
            raise SystemExit(failures.sentence("fairseq-generate", said, process.returncode, failed))


def translate_run(
    folder: Path, data_bin: Path, splits: Mapping[str, int], last: int, args: Sequence[str], out: Path
) -> tuple[list[Path], dict[str, Translation]]:
    """Translate sets with a run.

    Args:
        folder: the run.
        data_bin: the binarised text.
        splits: {name of the set: its number of sentences}.
        last: how many checkpoints to average.
        args: options of fairseq-generate.
        out: a folder for the averaged model and the logs.

    Returns:
        the averaged checkpoints, and {name of the set: its Translation}.
    """
    files.output_folder(out)
    averaged = last_checkpoints(folder, last)
    model = out / "averaged.pt"
    once(model, fingerprint(averaged), lambda: average(averaged, model))
    result = {}
    for split, count in splits.items():
        log = out / f"{split}.log"
        key = [fingerprint([model, *sorted(data_bin.glob(f"{split}.*"))]), list(args)]
        once(log, key, lambda split=split, log=log: generate(data_bin, model, split, args, log))
        result[split] = Translation(*scores.read_translations(log, count), log.read_text(encoding="utf-8"))
    return averaged, result
