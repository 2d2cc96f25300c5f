"""Teachers for distillation: tasks, and checkpoints as fairseq reads them."""

import argparse

import torch
from fairseq.models.lstm import LSTMModel, base_architecture
from fairseq.tasks.translation import TranslationConfig, TranslationTask

from support.models import SIZES, SOURCE_WORDS, TARGET_WORDS, build_fairseq, build_sret, dictionary

HISTORY = {
    "optimizer_history": [
        {"optimizer_name": "Adam", "lr_scheduler_state": {}, "num_updates": 3, "criterion_name": "CrossEntropy"}
    ],
    "extra_state": {"train_iterator": {"epoch": 1}},
}


def make_task(source_words=SOURCE_WORDS, target_words=TARGET_WORDS, **settings):
    cfg = TranslationConfig(data="data", source_lang="xx", target_lang="yy", train_subset="train", **settings)
    return TranslationTask(cfg, dictionary(source_words), dictionary(target_words))


def save(path, model, arch="transformer", data="nowhere", **options):
    """A checkpoint as fairseq reads it; its path."""
    args = argparse.Namespace(arch=arch, task="translation", data=str(data), **dict(SIZES, **options))
    torch.save({"args": args, "model": model.state_dict(), **HISTORY}, path)
    return str(path)


def save_lstm(path):
    """fairseq's LSTM, untrained, and its checkpoint."""
    options = argparse.Namespace(criterion="sret_soft_distillation")
    base_architecture(options)
    model = LSTMModel.build_model(options, make_task()).eval()
    return model, save(path, model, arch="lstm", **vars(options))


def save_teachers(folder):
    """The paths of checkpoints of two of fairseq's transformers, of seeds 11 and 12, and of a sret_transformer, 13."""
    return [
        save(folder / "first.pt", build_fairseq(seed=11)),
        save(folder / "second.pt", build_fairseq(seed=12)),
        save(folder / "sret.pt", build_sret(seed=13), arch="sret_transformer"),
    ]
