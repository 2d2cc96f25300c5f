"""Read the log that ``fairseq-train --log-format json`` prints."""

import json
import re
import statistics

REPORT = re.compile(r"\| INFO \| (train|train_inner|valid) \| (\{.*\})$")
OPTION = re.compile(r"\b(encoder|decoder)_(layers|recursions)=(\d+)")
PARAMETERS = re.compile(r"num\. shared model params: ([\d,]+)")


def parse_line(line):
    """Return ``(tag, values)`` of a report, whose tag is train, train_inner or valid, else ``(None, {})``."""
    match = REPORT.search(line)
    return (match[1], json.loads(match[2])) if match else (None, {})


def summarise(path):
    """Return what the log at ``path`` says of one training run.

    Keys: ``parameters``; ``virtual_depth``, layers times passes of both sides; ``training_tokens_per_second``,
    the target tokens of the median report, the first left out since it holds the start-up; ``train`` and
    ``valid``, lists of ``[update, loss]``, the loss being the negative log-likelihood in bits a token, without
    label smoothing.
    """
    parameters, options, speeds, curves = None, {}, [], {"train": [], "valid": []}
    with open(path, encoding="utf-8") as log:
        for line in log:
            tag, values = parse_line(line)
            if tag == "train_inner":
                speeds.append(float(values["wps"]))
                curves["train"].append(point(values, ""))
            elif tag == "valid":
                curves["valid"].append(point(values, "valid_"))
            elif not options:
                options = {f"{side}_{name}": int(number) for side, name, number in OPTION.findall(line)}
            elif match := PARAMETERS.search(line):
                parameters = int(match[1].replace(",", ""))
    if not speeds or not options or parameters is None:
        raise SystemExit(f"{path} is not the log of a finished fairseq-train --log-format json: train again.")
    depth = sum(options[f"{side}_layers"] * options.get(f"{side}_recursions", 1) for side in ("encoder", "decoder"))
    speed = statistics.median(speeds[1:] or speeds)
    return {"parameters": parameters, "virtual_depth": depth, "training_tokens_per_second": speed, **curves}


def point(values, prefix):
    """Return ``[update, loss]`` of a report."""
    return [int(values[f"{prefix}num_updates"]), float(values[f"{prefix}nll_loss"])]
