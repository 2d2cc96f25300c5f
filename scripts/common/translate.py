"""Translate a set with the average of a run's last checkpoints, once."""

import os
import subprocess
import sys

from common import checkpoints, files, generated


def last_checkpoints(folder, count):
    """The checkpoints to average: the last ``count`` of a run's updates, else of its epochs, else checkpoint_last.pt.

    A short run has fewer of them, or none.
    """
    for pattern in (checkpoints.UPDATE_FILE, checkpoints.EPOCH_FILE):
        found = checkpoints.numbered_checkpoints(folder, pattern)
        if found:
            return [path for _, path in found[-count:]]
    return [folder / "checkpoint_last.pt"]


def seal(paths):
    """What tells whether files are still the same."""
    return [[str(path), path.stat().st_size, path.stat().st_mtime_ns] for path in paths]


def once(output, key, make):
    """Call ``make`` unless it made ``output`` before from the same ``key``, which is kept beside it."""
    stamp = output.with_name(f"{output.name}.from.json")
    if output.exists() and stamp.exists() and files.read_json(stamp) == key:
        print(f"{output}: made before, skipped", flush=True)
        return
    stamp.unlink(missing_ok=True)
    make()
    files.write_json(stamp, key)


def average(checkpoints, output):
    """Write the average of checkpoints."""
    command = [sys.executable, files.REPOSITORY / "scripts" / "average_checkpoints.py", "--inputs", *checkpoints]
    if subprocess.run([*map(str, command), "--output", str(output)]).returncode:
        raise SystemExit("evaluate: the checkpoints cannot be averaged, as said above.")


def translate(data_bin, model, split, options, log_path):
    """Translate a set with fairseq-generate, which has to leave a hypothesis for each sentence in the log."""
    command = [
        *(sys.executable, "-m", "fairseq_cli.generate", data_bin, "--user-dir", files.REPOSITORY / "sret_fairseq"),
        *("--path", model, "--gen-subset", split, "--remove-bpe", "--batch-size", 128),
        *("--required-batch-size-multiple", 1, *options),  # with 8, the default, the last batch may be left out
    ]
    done = 0
    temporary = log_path.with_name(f"{log_path.name}.tmp")
    try:
        with (
            open(temporary, "w", encoding="utf-8") as log,
            subprocess.Popen(
                list(map(str, command)),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                env={**os.environ, "PYTHONUNBUFFERED": "1"},  # so that no warning lands within a translation
            ) as process,
        ):
            for line in process.stdout:
                log.write(line)
                done += line.startswith("D-")
                if line.startswith("D-") and done % 1000 == 0:
                    print(f"{split}: {done:,} sentences translated", flush=True)
    except BrokenPipeError:  # of what is printed here
        raise
    except OSError as error:
        raise SystemExit(f"{temporary} cannot be written: {error.strerror}.") from error
    if process.returncode:
        raise SystemExit(f"fairseq-generate failed; see the end of {temporary}.")
    temporary.replace(log_path)


def system_translations(folder, data_bin, splits, last, options, out):
    """Translate sets with a run.

    Args:
        folder: the run.
        data_bin: the binarised text.
        splits: {name of the set: its number of sentences}.
        last: how many checkpoints to average.
        options: words for fairseq-generate.
        out: a folder for the averaged model and the logs.

    Returns:
        the averaged checkpoints, and {name of the set: (tokenised translations, sentences/s, text of the log)}.
    """
    files.output_folder(out)
    checkpoints = last_checkpoints(folder, last)
    model = out / "averaged.pt"
    once(model, seal(checkpoints), lambda: average(checkpoints, model))
    result = {}
    for split, count in splits.items():
        log = out / f"{split}.log"
        key = [seal([model, *sorted(data_bin.glob(f"{split}.*"))]), options]
        once(log, key, lambda split=split, log=log: translate(data_bin, model, split, options, log))
        result[split] = (*generated.read(log, count), log.read_text(encoding="utf-8"))
    return checkpoints, result
