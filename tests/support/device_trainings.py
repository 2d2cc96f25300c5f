"""Trainings of fairseq's commands on any device, and on the CPU in float32 those that they are compared with."""

from pathlib import Path
from typing import Dict, List

import torch
from torch import Tensor

from support.training import BATCHES, LOG, train, weights_of

UPDATES, FIRST = 12, 7
MODEL = (
    "--arch sret_transformer --encoder-embed-dim 64 --decoder-embed-dim 96 --encoder-ffn-embed-dim 80 "
    "--decoder-ffn-embed-dim 112 --encoder-attention-heads 2 --decoder-attention-heads 6 --encoder-layers 2 "
    "--decoder-layers 3 --encoder-slices 2,3"
)
COMMON = "--dropout 0 --label-smoothing 0.1 --update-epoch-batch-itr True --distributed-world-size 1"
SGD, ADAM = "--optimizer sgd --lr 0.2", "--adam-betas (0.9,0.98) --lr 0.002 --optimizer"
PLAIN, CHUNKED = "--criterion label_smoothed_cross_entropy", "--criterion chunked_label_smoothed_cross_entropy"
MIXED = "--criterion sret_mixed_depth --mixed-depth 1"
SOFT = "--criterion sret_soft_distillation --hard-weight 0.2 --teacher"  # and its checkpoint

# Trainings on the CPU in float32, with no option that is for a GPU.
REFERENCES = {
    "untrained": f"{SGD} {PLAIN} --lr 0 --max-update 1",
    "sgd": f"{SGD} {PLAIN}",
    "adam": f"{ADAM} adam {PLAIN}",
    "mixed-depth": f"{SGD} {MIXED}",
    "distillation": f"{SGD} {SOFT}",
    "EMA": f"{SGD} {PLAIN} --store-ema --ema-decay 0.5",
}


def references_in(folder: Path, data: Path) -> None:
    """Train REFERENCES in this process; each has a folder of its name."""
    for name, words in REFERENCES.items():
        train(data, folder / name, f"{COMMON} --max-update {UPDATES} {with_teacher(words, folder)}", model=MODEL)


def with_teacher(words: str, references: Path) -> str:
    """Options, with a reference as the teacher where one is wanted."""
    return words.replace(SOFT, f"{SOFT} {references / 'sgd' / 'checkpoint_last.pt'}")


def command_line(words: str, device: str, data: Path, references: Path, folder: Path) -> List[str]:
    """The arguments of fairseq-train for these options on a device, but for the number of updates."""
    words = with_teacher(words, references)
    if device == "cpu":  # which flat gradients are not for
        words = "--cpu " + words.replace(" --fp16", " --fp16 --fp16-no-flatten-grads")
    settings = f"{MODEL} {BATCHES} {LOG} {COMMON} {words} --save-dir {folder}".split()
    return [str(data), "--user-dir", "sret_fairseq", *settings]


def generate_line(device: str, data: Path, folder: Path) -> List[str]:
    """The arguments of fairseq-generate for the test set and the last checkpoint of a folder."""
    settings = f"--path {folder / 'checkpoint_last.pt'} --gen-subset test --beam 4 --max-len-b 9 {BATCHES}".split()
    return [str(data), "--user-dir", "sret_fairseq", *(["--cpu"] if device == "cpu" else []), *settings]


def distance(found: Dict[str, Tensor], expected: Dict[str, Tensor], start: Dict[str, Tensor]) -> float:
    """How far weights are from where they should be, relative to the way there from the start."""
    found, expected, start = map(weights_of, (found, expected, start))
    assert found.keys() == expected.keys()
    flat = [
        torch.cat([each[name].double().flatten() for name in sorted(expected)]) for each in (found, expected, start)
    ]
    return float((flat[0] - flat[1]).norm() / (flat[2] - flat[1]).norm())
