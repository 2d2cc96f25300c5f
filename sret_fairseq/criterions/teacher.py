"""A teacher: trained translation models, one or an ensemble, whose probabilities a student learns."""

import copy
import logging
import os
from typing import Dict, List, Optional, Tuple

import torch
from fairseq import checkpoint_utils, utils
from fairseq.data import Dictionary
from fairseq.data.data_utils import infer_language_pair
from fairseq.models import FairseqEncoderDecoderModel
from fairseq.models.nat import FairseqNATModel
from fairseq.tasks import FairseqTask
from torch import Tensor, nn

from sret_fairseq import coefficients, dictionaries
from sret_fairseq.errors import OptionError, TrainingError
from sret_fairseq.options import SIDES
from sret_fairseq.patches.checkpoints import CheckpointError

logger = logging.getLogger(__name__)
LANGUAGES = ("source", "target")


class Teacher:
    """Models in evaluation mode without gradients, in half precision on a GPU.

    No Module, so that a criterion can hold it without making it part of its parameters, its mode and its device.
    """

    def __init__(self, paths: List[str], task: FairseqTask):
        """Load the models.

        Args:
            paths: checkpoints.
            task: the student's, whose dictionaries the teachers share.

        Raises:
            OptionError: names the checkpoint that cannot be a teacher, and why.
        """
        self.paths = paths
        self.models = [load(path, task) for path in paths]
        self.device = torch.device("cpu")

    def move(self, device: torch.device) -> None:
        """Go to a device, in the precision that is used there."""
        dtype = torch.float16 if device.type == "cuda" else torch.float32
        self.models = [model.to(device=device, dtype=dtype) for model in self.models]
        self.device = device

    @torch.no_grad()
    def probabilities(self, inputs: Dict[str, Tensor], real: Tensor, temperature: float) -> Tensor:
        """The mean over the models of ``softmax(logits / temperature)``.

        Args:
            inputs: ``net_input`` of a batch: source tokens (B, S), source lengths (B), previous output tokens (B, T).
            real: (B, T), True for the N tokens of the target that are no padding.
            temperature: T, above 0.

        Returns:
            (N, V) in float32, row by row of the batch.

        Raises:
            TrainingError: a sentence is too long for a teacher, or its logits overflow.
        """
        if real.device != self.device:
            self.move(real.device)
        lengths = inputs["src_tokens"].size(1), inputs["prev_output_tokens"].size(1)
        total = None
        with torch.autocast(self.device.type, enabled=False):
            for path, model in zip(self.paths, self.models):
                check_lengths(path, model, lengths)
                logits = model(**inputs)[0][real].float()
                probabilities = torch.softmax(logits / temperature, dim=-1)
                total = probabilities if total is None else total.add_(probabilities)
        if not total.isfinite().all():
            raise TrainingError("--teacher: its probabilities are no numbers; the logits overflow in float16.")
        return total.div_(len(self.models))


def load(path: str, task: FairseqTask) -> FairseqEncoderDecoderModel:
    """A trained model, frozen, on the CPU; neither torch's random numbers nor the student's task are touched.

    Raises:
        OptionError: the file is missing or no checkpoint, or its model cannot teach with the dictionaries of the task.
    """
    if not os.path.isfile(path):
        raise OptionError(f"--teacher {path}: there is no such file.")
    logger.info(f"sret_soft_distillation: loading the teacher {path}")
    followed = coefficients.followed  # the student, which stays the model whose coefficients are logged
    try:
        with torch.random.fork_rng(devices=[]):
            state = checkpoint_utils.load_checkpoint_to_cpu(path)
            check_dictionaries(path, state, task)
            state.pop("task_state", None)
            # A copy of the task, since with --eval-bleu a task keeps a search with the last model that it built.
            model = checkpoint_utils.load_model_ensemble_and_task([path], task=copy.copy(task), state=state)[0][0]
    except CheckpointError as error:
        raise OptionError(f"--teacher {error}") from error
    except SystemExit:  # another sentence of this project's
        raise
    except Exception as error:  # torch and fairseq raise nearly anything for a file that is something else
        reason = (str(error).splitlines() or [""])[0]
        raise OptionError(
            f"--teacher {path} cannot be used: it is no checkpoint of a translation model of fairseq "
            f"({type(error).__name__}: {reason})."
        ) from error
    finally:
        coefficients.followed = followed
    if not isinstance(model, FairseqEncoderDecoderModel):
        raise OptionError(f"--teacher {path} is a {type(model).__name__}, no encoder with a decoder.")
    if isinstance(model, FairseqNATModel):
        raise OptionError(
            f"--teacher {path} is a {type(model).__name__}, which does not predict one word after another."
        )
    if has_adaptive_softmax(model):
        raise OptionError(f"--teacher {path} has an adaptive softmax, which sret_soft_distillation does not know.")
    return model.eval().requires_grad_(False)


def has_adaptive_softmax(model: nn.Module) -> bool:
    """Whether a model's output is no row of logits over the vocabulary."""
    return getattr(model.decoder, "adaptive_softmax", None) is not None


def check_lengths(path: str, model: nn.Module, lengths: Tuple[int, int]) -> None:
    """Raise TrainingError for a batch that is longer than the model was made for."""
    if any(length > limit for length, limit in zip(lengths, model.max_positions())):
        limits = "--max-source-positions {} --max-target-positions {}".format(*map(int, model.max_positions()))
        raise TrainingError(f"--teacher {path} is made for shorter sentences than the training text's; add {limits}.")


def check_dictionaries(path: str, state: dict, task: FairseqTask) -> None:
    """Compare the dictionaries of a checkpoint with those of the student's task.

    Raises:
        OptionError: they differ in size or in words.
    """
    for side, language in zip(SIDES, LANGUAGES):
        ours = getattr(task, f"{language}_dictionary")
        embedding = state["model"].get(f"{side}.embed_tokens.weight")
        if embedding is not None and embedding.size(0) != len(ours):
            raise OptionError(
                f"--teacher {path} has a {language} dictionary of {embedding.size(0):,} words, the student's has "
                f"{len(ours):,}; teacher and student need the same one."
            )
        theirs = digest_of_training(state, language)
        if theirs not in (None, dictionaries.digest(ours)):
            raise OptionError(
                f"--teacher {path} was trained with another {language} dictionary of {len(ours):,} words; teacher and "
                f"student need the same one (fairseq-preprocess --srcdict and --tgtdict)."
            )


def digest_of_training(state: dict, language: str) -> Optional[str]:
    """The digest of a checkpoint's source or target dictionary; None where nothing tells it.

    A ``sret_transformer`` stores it. Other checkpoints name the data folder of their training, which may be gone.
    """
    metadata = getattr(state["model"], "_metadata", None) or {}
    stored = metadata.get("", {}).get("dictionaries", {})
    if language in stored:
        return stored[language]
    task = state["cfg"].task
    folder = utils.split_paths(getattr(task, "data", None) or "")[0]
    if not os.path.isdir(folder):
        return None
    names = dict(zip(LANGUAGES, infer_language_pair(folder)))
    name = getattr(task, f"{language}_lang", None) or names[language]
    file = os.path.join(folder, f"dict.{name}.txt")
    return dictionaries.digest(Dictionary.load(file)) if os.path.isfile(file) else None
