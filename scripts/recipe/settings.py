"""The settings of a recipe: its train.yaml, read as arguments of ``fairseq-train``."""

import os
from pathlib import Path
from typing import Any, NamedTuple

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


class Settings(NamedTuple):
    """What train.yaml says.

    Attributes:
        args: arguments of fairseq-train for every run.
        languages: source and target.
        max_tokens: of one batch on one process.
        batch_tokens: of an update over all processes.
        max_update: number of updates.
        seed: of the random numbers.
    """

    args: list[str]
    languages: tuple[str, str]
    max_tokens: int
    batch_tokens: int
    max_update: int
    seed: int


def data_folder(recipe: str) -> Path:
    """The folder that prepare.sh makes: $DATA or data/RECIPE."""
    return Path(os.environ.get("DATA") or files.REPOSITORY / "data" / recipe)


def runs_folder(recipe: str) -> Path:
    """The folder of a recipe's runs: $RUNS or runs/RECIPE."""
    return Path(os.environ.get("RUNS") or files.REPOSITORY / "runs" / recipe)


def read_sections(path: Path) -> dict[str, dict[str, Any]]:
    """The sections of a train.yaml, or exit with one sentence."""
    from omegaconf import OmegaConf  # here, since --help does without
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    try:
        sections = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except OSError as error:
        raise SystemExit(f"{path} cannot be read: {error.strerror or error}.") from error
    except (YAMLError, OmegaConfBaseException, ValueError) as error:
        raise SystemExit(f"{path} is no YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(sections, dict):
        raise SystemExit(f"{path} has no sections such as 'task:' and 'optimization:'.")
    for name, section in sections.items():
        if not isinstance(section, dict):
            raise SystemExit(f"{path}: the section '{name}' holds no settings NAME: VALUE.")
    return sections


def number(path: Path, sections: dict[str, dict[str, Any]], key: str) -> int:
    """The whole number of ``SECTION.NAME``, the first one of a list, or exit with one sentence."""
    section, name = key.split(".")
    value = sections.get(section, {}).get(name)
    value = value[0] if isinstance(value, list) and len(value) == 1 else value
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise SystemExit(f"{path}: '{key}' is {value!r}, not a whole number of at least 1.")
    return value


def read(path: Path, data: Path) -> Settings:
    """Return the Settings in the file ``path``, for the prepared text in the folder ``data``."""
    sections = read_sections(path)
    max_tokens = number(path, sections, "dataset.max_tokens")
    processes = number(path, sections, "distributed_training.distributed_world_size")
    task = sections.setdefault("task", {})
    source, target = languages(task, data)
    task.update(source_lang=source, target_lang=target)
    return Settings(
        args=train_args(sections),
        languages=(source, target),
        max_tokens=max_tokens,
        batch_tokens=processes * number(path, sections, "optimization.update_freq") * max_tokens,
        max_update=number(path, sections, "optimization.max_update"),
        seed=number(path, sections, "common.seed"),
    )


def languages(task: dict[str, Any], data: Path) -> tuple[str, str]:
    """Source and target language: those of the recipe, or where it is for any text those that prepare.sh was told.

    Raises:
        SystemExit: there is no such text.
    """
    if "source_lang" in task:
        return task["source_lang"], task["target_lang"]
    prepared = data / "prepare.json"
    if not prepared.exists():
        raise SystemExit(f"{prepared}: No such file or directory; run prepare.sh, or give --data DIR.")
    found = files.read_object(prepared, languages=list)["languages"]
    if len(found) != 2 or not all(isinstance(language, str) for language in found):
        raise SystemExit(f"{prepared}: 'languages' is {found}, not a source and a target.")
    return found[0], found[1]


def train_args(sections: dict[str, dict[str, Any]]) -> list[str]:
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
