"""A trained model and the batches of a data folder, through fairseq's own doors, for scripts that look into a model."""

import argparse
import logging
from collections.abc import Container
from pathlib import Path
from typing import Any

from common import arguments, checkpoints, command, files
from common.words import counted

try:
    import torch
    from fairseq import checkpoint_utils, utils
    from fairseq.data import data_utils
    from fairseq.models.transformer import TransformerModelBase
    from fairseq.tasks import FairseqTask
except ImportError as error:
    raise SystemExit(command.missing("fairseq")) from error


def sentence(error: BaseException) -> str:
    """The first line of an exception's message, with what follows a colon, or its name, as the end of a sentence."""
    first, *more = str(error).splitlines() or [type(error).__name__]
    return " ".join([first, *more[:1]] if first.endswith(":") else [first]).replace("\t", "").rstrip(".")


def load(checkpoint: Path, data: Path) -> tuple[TransformerModelBase, FairseqTask]:
    """Return a model in float32 and evaluation mode, on a GPU if there is one, and its task.

    Args:
        checkpoint: path of a checkpoint of ``transformer`` or ``sret_transformer``.
        data: path of the folder of fairseq-preprocess, which takes the place of the checkpoint's.

    Raises:
        SystemExit: one of them is missing or wrong, or they do not belong together.
    """
    if not any(data.glob("dict.*.txt")):
        raise SystemExit(f"{data} is no folder with dict.*.txt; give that of fairseq-preprocess.")
    logging.getLogger().setLevel(logging.WARNING)  # parts of fairseq turn on the debugging messages of all libraries
    utils.import_user_module(argparse.Namespace(user_dir=str(files.REPOSITORY / "sret_fairseq")))
    # Refuses what is no checkpoint in one sentence. With NaN a model computes anything, or nothing.
    checkpoints.check_finite(checkpoints.load(checkpoint)["model"], checkpoint)
    # BLEU, which a training may have asked for, needs a tokenizer that may not be here.
    overrides = {"data": str(data), "eval_bleu": False}
    try:
        models, _, task = checkpoint_utils.load_model_ensemble_and_task([str(checkpoint)], overrides)
    except Exception as error:  # fairseq raises nearly anything for options and weights that do not fit
        raise SystemExit(f"{checkpoint} cannot be loaded with the data in {data}: {sentence(error)}.") from error
    if not isinstance(models[0], TransformerModelBase):
        raise SystemExit(f"{checkpoint} holds a {type(models[0]).__name__}; give a transformer or sret_transformer.")
    return models[0].eval().to("cuda" if torch.cuda.is_available() else "cpu"), task


def sentences(task: FairseqTask, data: Path, subset: str) -> int:
    """How many sentences a part of the data has, or exit with one sentence."""
    try:
        task.load_dataset(subset, combine=False, epoch=1)
    except Exception as error:  # of a damaged file fairseq and numpy raise nearly anything
        raise SystemExit(f"{data}: its {subset} set cannot be read: {sentence(error)}.") from error
    return len(task.dataset(subset))


def batches(
    model: TransformerModelBase,
    task: FairseqTask,
    subset: str,
    wanted: Container[int] | None,
    max_tokens: int,
    max_sentences: int | None = None,
) -> list[dict[str, Any]]:
    """Return batches as fairseq collates them, on the model's device, shortest sentences first.

    Sentences that are too long for the model are left out, and fairseq's log says so.

    Args:
        model: the model of ``load``.
        task: its task.
        subset: name of the part of the data, such as ``valid``.
        wanted: range of sentence numbers, from 0, in the order of the text; None for all.
        max_tokens: of a batch, padding included; a longer sentence raises it to its own length.
        max_sentences: of a batch; None for any number.

    Raises:
        SystemExit: there is no such part, it is damaged or has no target, or none of these sentences is in it.
    """
    try:
        samples = collated(model, task, subset, wanted, max_tokens, max_sentences)
    except Exception as error:  # of a damaged file fairseq and numpy raise nearly anything
        raise SystemExit(f"--subset {subset} cannot be read: {sentence(error)}.") from error
    device = next(model.parameters()).device
    return [utils.apply_to_sample(lambda tensor: tensor.to(device), sample) for sample in samples]


def collated(
    model: TransformerModelBase,
    task: FairseqTask,
    subset: str,
    wanted: Container[int] | None,
    max_tokens: int,
    max_sentences: int | None,
) -> list[dict[str, Any]]:
    """Return the batches of ``batches`` on the CPU."""
    task.load_dataset(subset, combine=False, epoch=1)
    dataset = task.dataset(subset)
    if dataset.tgt is None:
        raise SystemExit(f"--subset {subset} has no target side; binarise both languages of it.")
    with data_utils.numpy_seed(1):  # the order among sentences of one length
        indices = dataset.ordered_indices()
    indices = indices[[wanted is None or index in wanted for index in indices.tolist()]]
    limits = utils.resolve_max_positions(task.max_positions(), model.max_positions())
    indices = task.filter_indices_by_size(indices, dataset, limits, ignore_invalid_inputs=True)
    if len(indices) == 0:
        sentences = counted(len(dataset), "sentence")
        raise SystemExit(f"--subset {subset}: of its {sentences} none is asked for and short enough.")
    longest = max(dataset.num_tokens(index) for index in indices)
    rows = dataset.batch_by_size(indices, max_tokens=max(max_tokens, longest), max_sentences=max_sentences)
    return [dataset.collater([dataset[index] for index in row]) for row in rows]


def parser(description: str) -> argparse.ArgumentParser:
    """A command line with what these scripts share: the checkpoint, the data and where to write."""
    result = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument("checkpoint", type=arguments.path, help="checkpoint of transformer or sret_transformer")
    result.add_argument("data", type=arguments.path, help="folder of fairseq-preprocess")
    result.add_argument("--out", type=arguments.path, required=True, metavar="FOLDER", help="where the results go")
    result.add_argument("--subset", default="valid", help="part of the data (default: valid)")
    result.add_argument(
        "--max-tokens",
        type=arguments.at_least(1),
        default=4096,
        help="tokens of a batch, padding included (default: 4096)",
    )
    return result
