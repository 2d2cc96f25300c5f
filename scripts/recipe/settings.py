"""The settings of a recipe: its train.yaml, read as words for ``fairseq-train``."""

import os
from collections import namedtuple
from pathlib import Path

from common import files

# Sections whose ``_name`` is an option of the command line by itself.
NAMED = {"task": "task", "criterion": "criterion", "optimizer": "optimizer", "lr_scheduler": "lr-scheduler"}
# What train.py decides for each run, and what only Hydra needs.
DECIDED_PER_RUN = {
    "hydra",
    "common.user_dir",
    "common.seed",
    "task.data",
    "model._name",
    "model.encoder_layers",
    "model.decoder_layers",
    "model.nll_ratio",
    "distributed_training.distributed_world_size",
    "dataset.max_tokens",
    "optimization.update_freq",
    "optimization.max_update",
    "checkpoint.save_dir",
}

Settings = namedtuple("Settings", "words languages max_tokens batch_tokens max_update seed")
Settings.__doc__ = """What train.yaml says.

``words`` for every run; ``languages`` (source, target); ``max_tokens`` of one batch on one process, ``batch_tokens`` of
an update over all of them; ``max_update``; ``seed``.
"""


def data_folder(recipe):
    """The folder that prepare.sh makes: $DATA or data/RECIPE."""
    return Path(os.environ.get("DATA") or files.REPOSITORY / "data" / recipe)


def runs_folder(recipe):
    """The folder of a recipe's runs: $RUNS or runs/RECIPE."""
    return Path(os.environ.get("RUNS") or files.REPOSITORY / "runs" / recipe)


def read(path, data):
    """Return the Settings in the file ``path``, for the prepared text in the folder ``data``."""
    from omegaconf import OmegaConf  # here, since --help does without

    sections = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    dataset, optimization = sections["dataset"], sections["optimization"]
    processes = sections["distributed_training"]["distributed_world_size"]
    source, target = languages(sections["task"], data)
    sections["task"].update(source_lang=source, target_lang=target)
    return Settings(
        words=words(sections),
        languages=(source, target),
        max_tokens=dataset["max_tokens"],
        batch_tokens=processes * optimization["update_freq"][0] * dataset["max_tokens"],
        max_update=optimization["max_update"],
        seed=sections["common"]["seed"],
    )


def languages(task, data):
    """Source and target language: those of the recipe, or where it is for any text those that prepare.sh was told.

    Raises:
        SystemExit: there is no such text.
    """
    if "source_lang" in task:
        return task["source_lang"], task["target_lang"]
    prepared = data / "prepare.json"
    if not prepared.exists():
        raise SystemExit(f"{prepared}: No such file or directory; run prepare.sh, or give --data DIR.")
    return tuple(files.read_json(prepared)["languages"])


def words(sections):
    """The options of all sections but those that are decided for each run."""
    result = []
    for section, options in sections.items():
        if section in DECIDED_PER_RUN:
            continue
        for name, value in options.items():
            if f"{section}.{name}" in DECIDED_PER_RUN or value is False:
                continue
            flag = NAMED[section] if name == "_name" else name.replace("_", "-")
            result.append(f"--{flag}")
            if value is not True:
                result.append(",".join(map(str, value)) if isinstance(value, list) else str(value))
    return result
