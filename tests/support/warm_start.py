"""Transformers of fairseq to start from, and their checkpoints."""

import argparse

import torch
from fairseq.models.transformer import TransformerModel

from support.checkpoints import write_checkpoint
from support.models import SIZES, Task

LAYERS = {"encoder_layers": 4, "decoder_layers": 6}
PRE_NORM = {"encoder_normalize_before": True, "decoder_normalize_before": True}


def task_for(options: dict) -> Task:
    """The dictionaries that a model of these options needs."""
    task = Task()
    if options.get("share_all_embeddings"):
        task.target_dictionary = task.source_dictionary
    return task


def transformer(tmp_path, **options):
    """fairseq's transformer with every parameter random, and the path of its checkpoint."""
    torch.manual_seed(5)
    args = argparse.Namespace(arch="transformer", **{**SIZES, **LAYERS, "dropout": 0.0, **options})
    model = TransformerModel.build_model(args, task_for(options)).eval()
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1:
            torch.nn.init.uniform_(parameter, *((-0.3, 0.3) if name.endswith("bias") else (0.7, 1.3)))
    return model, save(tmp_path / "transformer.pt", model, args)


def save(path, model, args):
    """Write a checkpoint of a model; its path."""
    return write_checkpoint(path, model.state_dict(), cfg={"model": args})
