"""Read the log that ``fairseq-train`` prints: as JSON, or plainly (``--log-format simple`` or tqdm)."""

import contextlib
import json
import re
import statistics
from pathlib import Path
from typing import Any, TextIO

Points = list[list[float]]  # [update, value]

# The last object of the line: a killed training may leave half a report, to which a resumed one appends its own line.
REPORT = re.compile(r'(\{"epoch": [^{}]*\})$')
# What a report counts its updates by tells its tag, also in the file of --log-file, where the tag itself is missing.
TAGS = {"num_updates": "train_inner", "train_num_updates": "train", "valid_num_updates": "valid"}
# Plain reports on an interval, and on an epoch or a validation; of two in a line the last, as above.
PLAIN_INNER = re.compile(r".*\bepoch (\d+):(.*\bnum_updates=\d.*),")
PLAIN_END = re.compile(r".*\bepoch (\d+) \| (?:valid on '(.+?)' subset \| )?(.*\bnum_updates \d[^|]*)(?: \||\n)")
OPTION = re.compile(r"\b(encoder|decoder)_(layers|recursions)=(\d+)")
MODEL = re.compile(r"\| INFO \| sret_fairseq\.model \| (.*)")
PARAMETERS = re.compile(r"num\. shared model params: ([\d,]+)")


def parse_line(line: str) -> tuple[str | None, dict[str, Any]]:
    """Return ``(tag, values)`` of a report, whose tag is train, train_inner or valid, else ``(None, {})``.

    The number of updates is an int, all else is as fairseq wrote it. A damaged report is none.
    """
    match = REPORT.search(line)
    with contextlib.suppress(TypeError, ValueError, OverflowError):
        values = json.loads(match[1]) if match else plain(line)
        for name, tag in TAGS.items():
            if name in values:
                values[name] = int(float(values[name]))  # fairseq writes 1000000 as 1e+06
                return tag, values
    return None, {}


def plain(line: str) -> dict[str, Any]:
    """The values of a plain report under the names that they have in one of JSON; empty where a line is none."""
    if match := PLAIN_INNER.match(line):
        return dict(re.findall(r"(\w+)=([^\s,\]]+)", match[2]))
    if match := PLAIN_END.match(line):
        pairs = (field.split() for field in match[3].split(" | "))
        return {f"{match[2] or 'train'}_{pair[0]}": pair[1] for pair in pairs if len(pair) == 2}
    return {}


def readable(line: str, updates: int) -> str | None:
    """Return what to print for a line of the log, or None; a damaged report must not end a running training."""
    tag, values = parse_line(line)
    with contextlib.suppress(KeyError, TypeError, ValueError):
        if tag == "train_inner":
            speed = float(values["wps"])
            return f"update {values['num_updates']:5d} of {updates}   loss {values['loss']}   {speed:.0f} tokens/s"
        if tag == "valid":
            bleu = f"   BLEU {values['valid_bleu']}" if "valid_bleu" in values else ""
            return f"update {values['valid_num_updates']:5d} of {updates}   valid loss {values['valid_loss']}{bleu}"
    if match := MODEL.search(line):
        return match[1]
    return None


def curves(path: Path) -> dict[str, Points]:
    """Return ``{"train": points, "valid": points, "bleu": points}`` of the log at ``path``.

    Points are lists of ``[update, value]`` in the order of the updates: the negative log-likelihood in bits a token,
    without label smoothing, of training and validation, and BLEU of validation (empty without ``--eval-bleu``). Where
    a resumed training falls back to an earlier update, what the log said from there on is replaced.
    """
    points = {"train": [], "valid": [], "bleu": []}
    with opened(path) as log:
        for line in log:
            tag, values = parse_line(line)
            if tag == "train_inner":
                rewind(points, values["num_updates"])
                append(points["train"], values["num_updates"], likelihood(values, ""))
            elif tag == "valid":
                rewind(points, values["valid_num_updates"])
                append(points["valid"], values["valid_num_updates"], likelihood(values, "valid_"))
                append(points["bleu"], values["valid_num_updates"], values.get("valid_bleu"))
    return points


def rewind(points: dict[str, Points], updates: int) -> None:
    """Drop all points after an update, which a training that falls back reaches again."""
    for kind in points.values():
        while kind and kind[-1][0] > updates:
            kind.pop()


def opened(path: Path) -> TextIO:
    """Return the open log, or exit with one sentence."""
    try:
        return open(path, encoding="utf-8", errors="replace")
    except OSError as error:
        raise SystemExit(f"{path} cannot be read: {error.strerror}.") from error


def append(points: Points, updates: int, value: object) -> None:
    """Append a point, in place of one at its update, unless its value is missing or damaged."""
    with contextlib.suppress(TypeError, ValueError):
        point = [updates, float(value)]
        if points and points[-1][0] == updates:
            points.pop()
        points.append(point)


def likelihood(values: dict[str, Any], prefix: str) -> object:
    """Return a report's negative log-likelihood; a criterion without label smoothing reports it as its loss alone.

    None if it reports neither.
    """
    return values.get(f"{prefix}nll_loss", values.get(f"{prefix}loss"))


def summarise(path: Path) -> dict[str, Any]:
    """Return what the log at ``path`` says of one training run.

    Keys: ``parameters``; ``virtual_depth``, layers times passes of both sides; ``training_tokens_per_second``,
    the target tokens of the median report, the first left out since it holds the start-up; ``train`` and
    ``valid``, as ``curves`` returns them.
    """
    parameters, options, speeds = None, {}, []
    with opened(path) as log:
        for line in log:
            tag, values = parse_line(line)
            if tag == "train_inner":
                with contextlib.suppress(KeyError, TypeError, ValueError):  # missing or damaged
                    speeds.append(float(values["wps"]))
            elif not options:
                options = {f"{side}_{name}": int(number) for side, name, number in OPTION.findall(line)}
            elif match := PARAMETERS.search(line):
                parameters = int(match[1].replace(",", ""))
    if not speeds or not options or parameters is None:
        raise SystemExit(f"{path} is not the log of a finished fairseq-train --log-format json: train again.")
    depth = sum(options[f"{side}_layers"] * options.get(f"{side}_recursions", 1) for side in ("encoder", "decoder"))
    points = curves(path)
    return {
        "parameters": parameters,
        "virtual_depth": depth,
        "training_tokens_per_second": statistics.median(speeds[1:] or speeds),
        "train": points["train"],
        "valid": points["valid"],
    }
