"""Training with fairseq inside the test's process, and in child processes that start fast and may die."""

import argparse
import multiprocessing
import os
import tempfile
from pathlib import Path
from typing import Optional

import torch
from fairseq import checkpoint_utils, options
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.distributed import utils as distributed_utils
from fairseq.logging import progress_bar
from fairseq.models import distributed_fairseq_model
from fairseq_cli import preprocess
from fairseq_cli import train as fairseq_train

import support.models  # noqa: F401  (whose setting of the length from which slices are gathered child processes need too)

# Encoder and decoder differ in every size, so that a mix-up of the two crashes.
MODEL = (
    "--arch sret_transformer --encoder-embed-dim 16 --decoder-embed-dim 24 --encoder-ffn-embed-dim 20 "
    "--decoder-ffn-embed-dim 28 --encoder-attention-heads 4 --decoder-attention-heads 2 --encoder-layers 2 "
    "--decoder-layers 3 --encoder-slices 2,3"
)
BATCHES = "--max-tokens 120 --required-batch-size-multiple 1 --num-workers 0"
OPTIMIZER = "--optimizer adam --lr 0.005 --criterion cross_entropy"
LOG = "--log-format none"
GLOO = "--distributed-backend gloo"


def write_text(folder: Path, name: str, pairs: int) -> None:
    """A toy language pair: each word is a letter, its translation the capital, in the opposite order."""
    with (folder / f"{name}.xx").open("w") as sources, (folder / f"{name}.yy").open("w") as targets:
        for row in range(pairs):
            words = ["abcdefghijk"[(5 * row + column * column) % 11] for column in range(2 + row % 7)]
            print(*words, file=sources)
            # One more word than the source has, so that the two vocabularies differ in size.
            print("Z", *reversed([word.upper() for word in words]), file=targets)


def make_data(folder: Path, *words) -> Path:
    """Binarise the toy corpus; ``words`` go to fairseq-preprocess. Returns the data folder."""
    for name, pairs in (("train", 60), ("valid", 12), ("test", 12)):
        write_text(folder, name, pairs)
    prefixes = [str(word) for name in ("train", "valid", "test") for word in (f"--{name}pref", folder / name)]
    parser = options.get_preprocessing_parser()
    data = folder / "data-bin"
    preprocess.main(parser.parse_args(["-s", "xx", "-t", "yy", "--destdir", str(data), *prefixes, *words]))
    return data


def arguments(data: Path, save_dir: Path, words: str = "", model: str = MODEL) -> argparse.Namespace:
    """What fairseq-train parses from ``words`` after the settings above; later words win."""
    start = ["--user-dir", "sret_fairseq", str(data), "--save-dir", str(save_dir), "--cpu"]
    settings = " ".join((model, BATCHES, OPTIMIZER, LOG, words)).split()
    return options.parse_args_and_arch(options.get_training_parser(), start + settings)


def train(data: Path, save_dir: Path, words: str = "", model: str = MODEL, common: Optional[dict] = None) -> dict:
    """Run fairseq-train in this process; the checkpoint that it ends with.

    Args:
        data: the binarised corpus.
        save_dir: where the checkpoints go.
        words: options, as on the command line.
        model: the architecture and its sizes.
        common: settings of fairseq's configuration group of that name that its command line cannot give.
    """
    forget_earlier_trainings()
    config = convert_namespace_to_omegaconf(arguments(data, save_dir, words, model))
    config.common.update(common or {})
    distributed_utils.call_main(config, fairseq_train.main)
    for writer in progress_bar._tensorboard_writers.values():
        writer.close()  # which waits for the thread that writes; fairseq does so when a process ends as usual
    progress_bar._tensorboard_writers.clear()
    return load(save_dir)


def forget_earlier_trainings() -> None:
    """fairseq keeps the best score so far in attributes of two functions: make this process as a fresh one."""
    for function in (checkpoint_utils.save_checkpoint, fairseq_train.should_stop_early):
        function.__dict__.pop("best", None)


def load(save_dir: Path, name: str = "checkpoint_last.pt") -> dict:
    """A checkpoint as torch reads it."""
    return torch.load(Path(save_dir) / name)


def start(function, *values) -> multiprocessing.Process:
    """Call a function of an importable module in a child process, forked from one that has imported fairseq."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["fairseq_cli.train", "fairseq_cli.preprocess"])
    process = context.Process(target=function, args=values)
    process.start()
    return process


def finish(*processes: multiprocessing.Process) -> None:
    """Wait for children, all of which have to succeed."""
    for process in processes:
        process.join(timeout=120)
    failed = [process.exitcode for process in processes if process.exitcode != 0]
    for process in processes:
        process.kill()
    assert not failed, failed


def train_quietly(*values) -> None:
    """``train`` for a child process: one thread, nothing printed."""
    torch.set_num_threads(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    train(*values)


def train_in_two(data: Path, save_dir: Path, words: str) -> dict:
    """``train`` in two processes with gloo; the checkpoint that the first one ends with."""
    with tempfile.TemporaryDirectory() as meeting_point:  # a file: a port that is free now may be taken a moment later
        finish(*(start(train_as_rank, rank, f"{meeting_point}/file", data, save_dir, words) for rank in range(2)))
    return load(save_dir)


def train_as_rank(rank: int, meeting_point: str, data: Path, save_dir: Path, words: str) -> None:
    """``train`` as one of two processes."""
    parallel = distributed_fairseq_model.DistributedDataParallel

    def on_cpu(device_ids, output_device, **options):
        return parallel(**options)  # fairseq names a GPU, which torch refuses for a model on the CPU

    distributed_fairseq_model.DistributedDataParallel = on_cpu
    place = f"--distributed-init-method file://{meeting_point} --distributed-rank {rank} --device-id 0"
    train_quietly(data, save_dir, f"--distributed-world-size 2 --distributed-no-spawn {place} {GLOO} {words}")


def weights_of(state: dict) -> dict:
    """A state dict without fairseq 0.12.2's ``_float_tensor``, which only tells a device: it is never initialised."""
    return {name: weight for name, weight in state.items() if not name.endswith("._float_tensor")}


def assert_same_weights(left: dict, right: dict, **tolerance) -> None:
    """Two state dicts have the same names and values, bit for bit unless told a tolerance."""
    left, right = weights_of(left), weights_of(right)
    assert left.keys() == right.keys()
    for name in left:
        options = tolerance or {"atol": 0, "rtol": 0}
        torch.testing.assert_close(left[name], right[name], **options, msg=lambda text, name=name: f"{name}: {text}")
