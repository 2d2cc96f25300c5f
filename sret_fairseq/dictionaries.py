"""A model knows the dictionaries that it was trained with.

fairseq stores no dictionary in a checkpoint. With another one of the same size the weights fit, and every word is
another one. So a digest of each dictionary travels in the metadata of the state dict, torch's place for such things.
Where a state dict is made anew (fairseq does so for ``--*-layers-to-keep`` and for averages of ``--store-ema``) the
metadata are lost, and nothing is compared.
"""

import hashlib

from torch import nn


class ForeignDictionary(SystemExit):
    """Weights that belong to other dictionaries. No Exception, since fairseq would put another message in its place."""


def digest(dictionary) -> str:
    """The SHA-256 of a fairseq Dictionary's entries, in order."""
    return hashlib.sha256("\n".join(dictionary.symbols).encode()).hexdigest()


def bind(model: nn.Module, task) -> None:
    """Make a model store the digests of its task's dictionaries, and refuse weights that were stored with others."""
    model.dictionary_digests = {
        "source": digest(task.source_dictionary),
        "target": digest(task.target_dictionary),
    }
    model.register_state_dict_post_hook(store)
    model.register_load_state_dict_pre_hook(compare)


def store(model, state_dict, prefix, metadata) -> None:
    """torch calls this after it has filled a state dict."""
    metadata["dictionaries"] = dict(model.dictionary_digests)


def compare(model, state_dict, prefix, metadata, strict, missing, unexpected, errors) -> None:
    """torch calls this before it loads a state dict.

    Raises:
        ForeignDictionary: the weights were stored with other dictionaries.
    """
    for side, stored in metadata.get("dictionaries", {}).items():
        if stored != model.dictionary_digests[side]:
            raise ForeignDictionary(
                f"sret_transformer: the {side} dictionary is not the one that these weights were trained with; give "
                f"the data folder of the training, or text binarised with its dictionaries (fairseq-preprocess "
                f"--srcdict and --tgtdict)."
            )
