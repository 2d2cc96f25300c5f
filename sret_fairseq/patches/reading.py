"""fairseq reads checkpoints through the gate of checkpoints.py, and says in a sentence what does not fit.

It would load any file; ignore an override of an option that does not exist, so that a model of "one pass" ran with all;
translate with the languages swapped where both share a dictionary; and answer weights that do not fit with a traceback.
"""

import argparse
import dataclasses
import functools
from typing import Any, Callable, Dict, Iterator, List, Optional, Set, Tuple

from fairseq import checkpoint_utils
from fairseq.dataclass.configs import FairseqConfig
from fairseq.registry import REGISTRIES
from fairseq.tasks import TASK_DATACLASS_REGISTRY, FairseqTask
from fairseq.trainer import Trainer
from fairseq.utils import safe_getattr
from torch import nn

from sret_fairseq import dictionaries, options
from sret_fairseq.errors import OptionError, suggestion
from sret_fairseq.patches.checkpoints import CheckpointError, check_finite, read

OF_THE_HUB = ("generation_args", "is_vocoder")  # keywords of from_pretrained, which passes all of them on as overrides


def fields_of(config: type) -> Iterator[str]:
    """The names of a configuration's options, at any depth."""
    for field in dataclasses.fields(config):
        yield field.name
        if dataclasses.is_dataclass(field.type):
            yield from fields_of(field.type)


@functools.cache
def names_of_fairseq() -> Set[str]:
    """The options of fairseq itself and of the tasks, tokenizers and so on that are registered."""
    parts = [FairseqConfig, *TASK_DATACLASS_REGISTRY.values()]
    parts += [config for registry in REGISTRIES.values() for config in registry["dataclass_registry"].values()]
    return {name for part in parts if part is not None for name in fields_of(part)}


def names_within(value: Any) -> Iterator[str]:
    """The names in dictionaries and Namespaces, at any depth."""
    named = vars(value) if isinstance(value, argparse.Namespace) else value if isinstance(value, dict) else {}
    for name, item in named.items():
        yield str(name)
        yield from names_within(item)


def check_overrides(path: str, state: Dict[str, Any], overrides: Dict[str, Any]) -> None:
    """Refuse the override of an option that neither the checkpoint nor fairseq nor this project has.

    Raises:
        OptionError: names it, and the option that was probably meant.
    """
    of_the_model = {*names_within({name: state.get(name) for name in ("cfg", "args")}), *options.names()}
    known = of_the_model | names_of_fairseq() | {*OF_THE_HUB}
    for name in names_within(overrides):
        if name not in known:
            raise OptionError(f"{path}: there is no option {name} to override{suggestion(name, of_the_model)}")


def through_the_gate(load: Callable) -> Callable:
    """fairseq's ``load_checkpoint_to_cpu``, after all checks."""

    @functools.wraps(load)
    def load_checkpoint_to_cpu(
        path: str, arg_overrides: Optional[Dict[str, Any]] = None, *args: Any, **kwargs: Any
    ) -> Dict[str, Any]:
        state = read(path)
        check_finite(state["model"], path)
        if arg_overrides:
            check_overrides(path, state, arg_overrides)
            cfg = state.get("cfg") or {}
            trained = dictionaries.languages(cfg.get("task") or state.get("args"))
            dictionaries.check_languages(path, trained, dictionaries.languages(arg_overrides))
        del state
        state = load(path, arg_overrides, *args, **kwargs)
        dictionaries.name_languages(state)
        return state

    return load_checkpoint_to_cpu


def in_a_sentence(load: Callable) -> Callable:
    """fairseq's ``load_model_ensemble_and_task``, which looks at the languages and raises sentences."""

    @functools.wraps(load)
    def load_model_ensemble_and_task(
        filenames: List[str],
        arg_overrides: Optional[Dict[str, Any]] = None,
        task: Optional[FairseqTask] = None,
        *args: Any,
        **kwargs: Any,
    ) -> Tuple[List[nn.Module], Any, FairseqTask]:
        names = ", ".join(map(str, filenames))
        try:
            models, cfg, its_task = load(filenames, arg_overrides, task, *args, **kwargs)
        except SystemExit:
            raise
        except Exception as error:  # torch and fairseq raise nearly anything for contents that do not fit
            raise CheckpointError(f"{names} cannot be loaded: {first_lines(error)}.") from error
        asked = dictionaries.languages(safe_getattr(its_task, "cfg", None))
        for name, model in zip(filenames, models):
            trained = getattr(model, "trained_languages", (None, None))  # which a sret_transformer knows
            trained = dictionaries.languages(cfg.task) if None in trained else trained
            dictionaries.check_languages(name, trained, asked)
        return models, cfg, its_task

    return load_model_ensemble_and_task


def fitting(load: Callable) -> Callable:
    """``Trainer.load_checkpoint``, whose exception for weights that do not fit becomes a sentence."""

    @functools.wraps(load)
    def load_checkpoint(self: Any, filename: str, *args: Any, **kwargs: Any) -> Any:
        try:
            return load(self, filename, *args, **kwargs)
        except SystemExit:
            raise
        except Exception as error:
            if not str(error).startswith("Cannot load model parameters from checkpoint"):
                raise
            reason = first_lines(error.__context__ or error)
            raise CheckpointError(
                f"{filename} does not fit the model of these options: {reason}. Give those of its training, or another "
                f"--save-dir."
            ) from error

    return load_checkpoint


def first_lines(error: BaseException) -> str:
    """An exception's message as the end of a sentence: its first line, and the second where that has the point."""
    first, *more = str(error).splitlines() or [""]
    text = " ".join([first, *more[:1]] if first.endswith(":") else [first])
    return f"{type(error).__name__}: {' '.join(text.split())[:400].rstrip('.')}"


def guard_checkpoints() -> None:
    """Put the gate before all that fairseq reads, in this process."""
    if not hasattr(checkpoint_utils.load_checkpoint_to_cpu, "__wrapped__"):
        checkpoint_utils.load_checkpoint_to_cpu = through_the_gate(checkpoint_utils.load_checkpoint_to_cpu)
        ensemble = in_a_sentence(checkpoint_utils.load_model_ensemble_and_task)
        checkpoint_utils.load_model_ensemble_and_task = ensemble
        Trainer.load_checkpoint = fitting(Trainer.load_checkpoint)
