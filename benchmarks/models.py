"""The systems: fairseq's transformer and sret_transformer, built as fairseq-train builds them from the same options."""

from dataclasses import dataclass
from functools import lru_cache
from typing import List

import torch
from fairseq import options
from fairseq.data import Dictionary
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.tasks.translation import TranslationTask
from fairseq.trainer import Trainer

import sret_fairseq  # noqa: F401  (registers the model)
from benchmarks import devices

WORDS = 10_000 - 4  # beside fairseq's four special symbols
WIDTHS = {"tiny": (128, 256, 4), "base": (512, 2048, 8), "big": (1024, 4096, 16)}
LAST_POSITION = 8192
CHUNKED = "chunked_label_smoothed_cross_entropy"

A = "--arch transformer --encoder-layers 6 --decoder-layers 6 --encoder-normalize-before --decoder-normalize-before"
B = "--arch sret_transformer"
WIDE_NLL = f"{B} --nll-ratio 1"
NO_NLL = f"{B} --nll-ratio 0"
UNSLICED = f"{NO_NLL} --encoder-slices 1"
BARE = f"{UNSLICED} --residual-coefficients none"
VARIANTS = {"defaults": B, "NLL 1": WIDE_NLL, "no NLL": NO_NLL, "bare (no NLL, unsliced, no LRC)": BARE}


@dataclass
class System:
    """A model with what fairseq builds around it."""

    cfg: object
    task: TranslationTask
    model: torch.nn.Module
    device: str

    def trainer(self) -> Trainer:
        """fairseq's trainer of the model, on its device; in bf16 on a GPU (fairseq's --bf16)."""
        trainer = Trainer(self.cfg, self.task, self.model, self.task.build_criterion(self.cfg.criterion))
        trainer.cuda_env = None  # with it the trainer resets the GPU's peak of memory after every update
        return trainer

    def on_device(self) -> torch.nn.Module:
        """The model on its device in its number format, to be called without a trainer."""
        return self.model.to(device=self.device, dtype=devices.dtype(self.device))

    def for_inference(self) -> torch.nn.Module:
        """The same, prepared as fairseq-generate does."""
        model = self.on_device()
        model.eval()
        model.prepare_for_inference_(self.cfg)
        return model


@lru_cache(maxsize=1)
def dictionary() -> Dictionary:
    """The words of both languages."""
    words = Dictionary()
    for index in range(WORDS):
        words.add_symbol(f"w{index}")
    return words


def arguments(size: str, words: str, device: str, criterion: str = "label_smoothed_cross_entropy") -> List[str]:
    """The command line of a training.

    Args:
        size: a key of WIDTHS.
        words: options of the model, such as A or B, and others.
        device: ``cpu`` or ``cuda``.
        criterion: the loss.
    """
    width, hidden, heads = WIDTHS[size]
    sides = " ".join(
        f"--{side}-embed-dim {width} --{side}-ffn-embed-dim {hidden} --{side}-attention-heads {heads}"
        for side in ("encoder", "decoder")
    )
    return (
        f"no-data-folder --task translation --optimizer adam {words} {sides} --share-all-embeddings --dropout 0.1 "
        f"--max-source-positions {LAST_POSITION} --max-target-positions {LAST_POSITION} "
        f"--criterion {criterion} --label-smoothing 0.1 --adam-betas (0.9,0.98) --lr 1e-4 "
        f"--lr-scheduler fixed --clip-norm 1.0 --distributed-world-size 1 {'--cpu' if device == 'cpu' else '--bf16'}"
    ).split()


def build(size: str, words: str, device: str, criterion: str = "label_smoothed_cross_entropy") -> System:
    """A system that is untrained, but for its residual coefficients; the arguments are those of ``arguments``."""
    parser = options.get_training_parser()
    parsed = options.parse_args_and_arch(parser, arguments(size, words, device, criterion))
    cfg = convert_namespace_to_omegaconf(parsed)
    task = TranslationTask(cfg.task, dictionary(), dictionary())
    torch.manual_seed(1)
    model = task.build_model(cfg.model)
    for name, parameter in model.named_parameters():
        if ".coefficients." in name:  # as a training moves them: by 1 nothing needs to be multiplied
            torch.nn.init.uniform_(parameter, -0.1, 0.1)
    return System(cfg, task, model, device)


def parameters(module: torch.nn.Module) -> int:
    """Parameters of a model without its embeddings, or of any module."""
    named = module.named_parameters()
    return sum(parameter.numel() for name, parameter in named if "embed_tokens" not in name)


def encoder_recursion(size: str, decoder_blocks: int, passes: int = 3) -> str:
    """Options of a model without NLL whose encoder alone is recursive, with as many parameters as A.

    Args:
        size: a key of WIDTHS.
        decoder_blocks: distinct blocks of the decoder, each applied once.
        passes: through each block of the encoder, of which there are as many as the parameters allow.

    Raises:
        ValueError: no number of encoder blocks comes within 3 % of A's parameters, embeddings apart.
    """

    def words(encoder_blocks: int) -> str:
        return (
            f"{NO_NLL} --encoder-layers {encoder_blocks} --encoder-recursions {passes} "
            f"--decoder-layers {decoder_blocks} --decoder-recursions 1"
        )

    wanted = parameters(build(size, A, "cpu").model)
    one, two = (parameters(build(size, words(blocks), "cpu").model) for blocks in (1, 2))
    blocks = 1 + max(0, round((wanted - one) / (two - one)))
    if abs(one + (blocks - 1) * (two - one) - wanted) > 0.03 * wanted:
        raise ValueError(f"{decoder_blocks} decoder blocks of size {size} leave no encoder of equal parameters.")
    return words(blocks)
