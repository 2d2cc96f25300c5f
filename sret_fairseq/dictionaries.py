"""A model knows the dictionaries and the languages that it was trained with.

fairseq stores no dictionary in a checkpoint, and the languages only where they were given and not found in the data.
With another dictionary of the same size the weights fit, and every word is another one; with one dictionary for both
languages a model also takes the language that it should give. So a digest of each dictionary and the languages travel
in the metadata of the state dict, torch's place for such things.
Where a state dict is made anew (fairseq does so for ``--*-layers-to-keep`` and for averages of ``--store-ema``) the
metadata are lost, and nothing is compared.
"""

import contextlib
import hashlib
import itertools
import logging
from pathlib import Path
from typing import Any, Dict, List, Tuple

from fairseq.data import Dictionary
from fairseq.tasks import FairseqTask
from fairseq.utils import safe_getattr, split_paths
from omegaconf import OmegaConf, open_dict
from torch import Tensor, nn

from sret_fairseq.errors import OptionError

logger = logging.getLogger(__name__)
Languages = Tuple[Any, Any]  # source and target, each None where that is not known


class ForeignDictionary(SystemExit):
    """Weights that belong to other dictionaries. No Exception, since fairseq would put another message in its place."""


def digest(dictionary: Dictionary) -> str:
    """The SHA-256 of a fairseq Dictionary's entries, in order."""
    return hashlib.sha256("\n".join(dictionary.symbols).encode()).hexdigest()


def bind(model: nn.Module, task: FairseqTask) -> None:
    """Make a model store the digests of its task's dictionaries, and refuse weights that were stored with others.

    It stores the languages too, and has those of the weights that it loads as ``trained_languages``.
    """
    model.dictionary_digests = {
        "source": digest(task.source_dictionary),
        "target": digest(task.target_dictionary),
    }
    model.languages = languages(safe_getattr(task, "cfg", None))
    model.trained_languages = (None, None)
    model.register_state_dict_post_hook(store)
    model.register_load_state_dict_pre_hook(compare)


def store(model: nn.Module, state_dict: Dict[str, Tensor], prefix: str, metadata: Dict[str, Any]) -> None:
    """torch calls this after it has filled a state dict."""
    metadata["dictionaries"] = dict(model.dictionary_digests)
    metadata["languages"] = list(model.languages)


def compare(
    model: nn.Module,
    state_dict: Dict[str, Tensor],
    prefix: str,
    metadata: Dict[str, Any],
    strict: bool,
    missing: List[str],
    unexpected: List[str],
    errors: List[str],
) -> None:
    """torch calls this before it loads a state dict.

    Raises:
        ForeignDictionary: the weights were stored with other dictionaries.
    """
    model.trained_languages = tuple(metadata.get("languages", (None, None)))
    for side, stored in metadata.get("dictionaries", {}).items():
        if stored != model.dictionary_digests[side]:
            raise ForeignDictionary(
                f"sret_transformer: the {side} dictionary is not the one that these weights were trained with; give "
                f"the data folder of the training, or text binarised with its dictionaries (fairseq-preprocess "
                f"--srcdict and --tgtdict)."
            )


def languages(options: Any) -> Languages:
    """The languages that the options of a task name, a dictionary or an object."""
    return tuple(
        options.get(name) if isinstance(options, dict) else safe_getattr(options, name, None)
        for name in ("source_lang", "target_lang")
    )


def name_languages(state: Dict[str, Any]) -> None:
    """Fill in the languages of a checkpoint whose options do not name them: fairseq looks for them in binarised text.

    The weights may know them; otherwise the names of the two dictionaries do, in a folder without any text.
    """
    task = state["args"] if state.get("args") is not None else state["cfg"].get("task")
    if task is None or None not in languages(task):
        return
    metadata = (getattr(state["model"], "_metadata", None) or {}).get("", {})
    found = metadata.get("languages", (None, None))
    if None in found:
        folder = Path(split_paths(safe_getattr(task, "data", None) or "")[0])
        found = languages_of_files(folder, metadata.get("dictionaries", {}))
    with open_dict(task) if OmegaConf.is_config(task) else contextlib.nullcontext():
        task.source_lang, task.target_lang = found


def languages_of_files(folder: Path, digests: Dict[str, str]) -> Languages:
    """The languages of the two ``dict.*.txt`` of a folder, by digests of the source's and the target's."""
    files = {path.name.split(".")[1]: path for path in sorted(folder.glob("dict.*.txt"))}
    for source, target in itertools.permutations(files, 2):
        if digests == {"source": digest_in(files[source]), "target": digest_in(files[target])}:
            return source, target
    return None, None


def digest_in(path: Path) -> str:
    """``digest`` of a dictionary in a file."""
    return digest(Dictionary.load(str(path)))


def check_languages(name: str, trained: Languages, asked: Languages) -> None:
    """Refuse to translate the other way round; warn of other languages.

    Raises:
        OptionError: the model translates from what is asked for as the target to what is asked for as the source.
    """
    if None in trained or None in asked or trained == asked:
        return
    if trained == asked[::-1]:
        raise OptionError(
            f"{name} translates from {trained[0]} to {trained[1]}; turn --source-lang and --target-lang around."
        )
    logger.warning(f"{name} was trained to translate from {trained[0]} to {trained[1]}, not {asked[0]} to {asked[1]}")
