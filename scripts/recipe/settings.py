"""The settings of a recipe: its train.yaml, read as arguments of ``fairseq-train``."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from common import files

# Sections whose ``_name`` is an option of the command line by itself, and chooses which other options there are.
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
        left_out: a sentence for each part of fairseq, chosen in place of the recipe's, that takes fewer options.
        languages: source and target.
        max_tokens: of one batch on one process.
        batch_tokens: of an update over all processes.
        max_update: number of updates.
        seed: of the random numbers.
    """

    args: list[str]
    left_out: list[str]
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


def read(path: Path, data: Path, options: Sequence[str] = ()) -> Settings:
    """Return the Settings in the file ``path``, for the prepared text in the folder ``data``.

    ``options`` of fairseq-train will follow them. Where they choose another scheduler, optimizer and so on than the
    recipe, what that does not take is left out of the settings, since fairseq would refuse it.
    """
    check_prepared(data)
    sections = read_sections(path)
    left_out = [leave_out(sections[section], section, name) for section, name in chosen_parts(options).items()]
    max_tokens = number(path, sections, "dataset.max_tokens")
    processes = number(path, sections, "distributed_training.distributed_world_size")
    task = sections.setdefault("task", {})
    source, target = languages(task, data)
    task.update(source_lang=source, target_lang=target)
    return Settings(
        args=train_args(sections),
        left_out=[sentence for sentence in left_out if sentence],
        languages=(source, target),
        max_tokens=max_tokens,
        batch_tokens=processes * number(path, sections, "optimization.update_freq") * max_tokens,
        max_update=number(path, sections, "optimization.max_update"),
        seed=number(path, sections, "common.seed"),
    )


def check_prepared(data: Path) -> None:
    """Exit with one sentence if prepare.sh was interrupted in a folder, which may hold parts of two texts.

    It alone writes references; a folder of distilled text has steps too, and no description.
    """
    if all((data / name).exists() for name in ("steps", "reference")) and not (data / "prepare.json").exists():
        raise SystemExit(f"{data} is half prepared; run prepare.sh again, to its end.")


def chosen_parts(options: Sequence[str]) -> dict[str, str]:
    """{section: name} of the parts of fairseq that these options of fairseq-train choose."""
    parser = argparse.ArgumentParser("train.sh", add_help=False, allow_abbrev=False)
    for section, option in NAMED.items():
        parser.add_argument(f"--{option}", dest=section)
    return {section: name for section, name in vars(parser.parse_known_args(options)[0]).items() if name}


def leave_out(settings: dict[str, Any], section: str, name: str) -> str | None:
    """Delete from a section what the part of fairseq of this name does not take; the sentence that says so, if any."""
    taken = options_of(section, name)
    foreign = [option for option in settings if option not in taken and option != "_name"]
    for option in foreign:
        del settings[option]
    flags = ", ".join(f"--{option.replace('_', '-')}" for option in foreign)
    return f"{name} takes no {flags}: the recipe's is left out." if foreign else None


def options_of(section: str, name: str) -> set[str]:
    """The names of the options that a part of fairseq takes, or exit with one sentence if there is none."""
    from fairseq.registry import REGISTRIES  # here, since few trainings need it and it takes seconds
    from fairseq.tasks import TASK_REGISTRY

    import sret_fairseq  # noqa: F401  (registers its own)

    parts = TASK_REGISTRY if section == "task" else REGISTRIES[section]["registry"]
    if name not in parts:
        raise SystemExit(f"train: there is no --{NAMED[section]} {name}; choose one of {', '.join(sorted(parts))}.")
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parts[name].add_args(parser)
    return {action.dest for action in parser._actions}


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
