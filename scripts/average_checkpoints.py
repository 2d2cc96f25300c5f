"""Average the parameters of checkpoints of one training run into a checkpoint for fairseq-generate.

Give the files themselves, or one folder and how many of its last checkpoints to take. The options of the model come
from the last of them; optimizer state is left out. Nothing but data is read from a file (torch's weights_only).
"""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from common import arguments, command
from common.checkpoints import (
    EPOCH_FILE,
    TRAINING_FILE,
    UPDATE_FILE,
    check_finite,
    drop_training_state,
    load,
    numbered_checkpoints,
    package_file,
    place_of,
    save,
    training_of,
)
from common.words import counted


def last_checkpoints(
    folder: Path, pattern: re.Pattern[str], count: int, upper_bound: int | None, option: str, or_fewer: bool = False
) -> list[Path]:
    """Return the paths of the last checkpoints of a folder, oldest first.

    Args:
        folder: path of the folder.
        pattern: regular expression of a whole file name; its one group is the epoch or the update.
        count: how many to take.
        upper_bound: the last epoch or update that may be taken, or None.
        option: the option that asked for them, for error messages.
        or_fewer: whether a folder that has fewer, though at least one, will do.

    Raises:
        SystemExit: ``count`` is below 1 or the folder has too few.
    """
    if count < 1:
        raise SystemExit(f"{option} {count}: give a number of at least 1.")
    numbered = numbered_checkpoints(folder, pattern)
    if upper_bound is not None:
        numbered = [(number, path) for number, path in numbered if number <= upper_bound]
    if len(numbered) < (1 if or_fewer else count):
        bounded = "" if upper_bound is None else f" up to {upper_bound}"
        advice = "; add --or-fewer to average what there is" if numbered else ""
        raise SystemExit(
            f"{option} {count}: {folder} has only {counted(len(numbered), 'such checkpoint')}{bounded}{advice}."
        )
    return [path for _, path in numbered[-count:]]


def select(args: argparse.Namespace) -> list[Path]:
    """Return the paths of the checkpoints that the command line asks for, oldest first, or exit with one sentence."""
    for path in args.inputs:
        if not path.exists():
            raise SystemExit(f"--inputs: {path} does not exist.")
    by_number = [
        ("--num-epoch-checkpoints", EPOCH_FILE, args.num_epoch_checkpoints),
        ("--num-update-checkpoints", UPDATE_FILE, args.num_update_checkpoints),
    ]
    for option, pattern, count in by_number:
        if count is not None:
            if len(args.inputs) != 1 or not args.inputs[0].is_dir():
                raise SystemExit(f"{option}: --inputs has to be one folder.")
            return last_checkpoints(args.inputs[0], pattern, count, args.checkpoint_upper_bound, option, args.or_fewer)
    for option, given in (
        ("--checkpoint-upper-bound", args.checkpoint_upper_bound is not None),
        ("--or-fewer", args.or_fewer),
    ):
        if given:
            raise SystemExit(f"{option}: give --num-epoch-checkpoints or --num-update-checkpoints too.")
    for path in args.inputs:
        if path.is_dir():
            raise SystemExit(
                f"--inputs: {path} is a folder; give --num-epoch-checkpoints or --num-update-checkpoints too."
            )
    if len({path.resolve() for path in args.inputs}) < len(args.inputs):
        raise SystemExit("--inputs: a file is named twice.")
    return args.inputs


def check_output(output: Path, inputs: Sequence[Path]) -> None:
    """Exit with one sentence if the output cannot be written or would replace an input."""
    if not output.parent.is_dir():
        raise SystemExit(f"--output: the folder {output.parent} does not exist.")
    if output.is_dir():
        raise SystemExit(f"--output: {output} is a folder; name a file.")
    if output.resolve() in {path.resolve() for path in inputs}:
        raise SystemExit(f"--output: {output} is one of the checkpoints to average; choose another name.")
    beside = {path.resolve().parent for path in inputs}
    if output.exists() and output.resolve().parent in beside and TRAINING_FILE.fullmatch(output.name):
        raise SystemExit(f"--output: {output} is a checkpoint of the training; choose another name.")


def check_same_tensors(path: Path, model: dict[str, Tensor], first_path: Path, first: dict[str, Tensor]) -> None:
    """Exit with one sentence unless two models have tensors of the same names, shapes and types."""
    for name in sorted(model.keys() | first.keys()):
        for holder, other, lacking in ((model, first, first_path), (first, model, path)):
            if name in holder and name not in other:
                raise SystemExit(f"{lacking} has no tensor {name}, other checkpoints to average have one.")
        ours, theirs = ((tuple(tensor.shape), tensor.dtype) for tensor in (model[name], first[name]))
        if ours != theirs:
            raise SystemExit(
                f"{path}: the tensor {name} is {ours[0]} {ours[1]}, but {theirs[0]} {theirs[1]} in {first_path}."
            )


def check_same_training(path: Path, training: dict[str, Any], first_path: Path, first: dict[str, Any]) -> None:
    """Exit with one sentence unless two checkpoints say the same of their training."""
    for name, value in training.items():
        if value != first[name]:
            raise SystemExit(
                f"{path} says that its {name} was {value!r}, {first_path} says {first[name]!r}: the mean of two "
                f"trainings translates nothing; --force averages them all the same."
            )


def average(paths: Sequence[Path], force: bool = False) -> dict[str, Any]:
    """Return the last checkpoint of ``paths`` with the mean of their models and without what was trained beside it.

    Sums are kept in float64; each mean has its parameter's type. Tensors of whole numbers are the last checkpoint's.
    Tensors that share their numbers in every checkpoint go on sharing them, so that a file has them once.

    Args:
        paths: the checkpoints.
        force: take those of different trainings.

    Raises:
        SystemExit: they do not belong together, or one holds a number that is not finite.
    """
    first: dict[str, Tensor] = {}
    for index, path in enumerate(paths, 1):
        print(f"[{index}/{len(paths)}] {path}", flush=True)
        checkpoint = load(path)
        model = checkpoint["model"]
        if not first:  # its shapes and types, not its numbers: one checkpoint at a time is in memory
            first = {name: torch.empty_like(tensor, device="meta") for name, tensor in model.items()}
            training = training_of(checkpoint)
            floating = [name for name, tensor in model.items() if tensor.is_floating_point()]
            sums = {name: torch.zeros_like(model[name], dtype=torch.float64) for name in floating}
            places: dict[str, tuple] = {name: () for name in floating}
        check_same_tensors(path, model, paths[0], first)
        if not force:
            check_same_training(path, training_of(checkpoint), paths[0], training)
        check_finite(model, path)
        for name, total in sums.items():
            total += model[name]
            places[name] += (place_of(model[name]),)
    means: dict[tuple, Tensor] = {}
    for name, total in sums.items():
        if places[name] not in means:
            means[places[name]] = (total / len(paths)).to(model[name].dtype)
    # In place: a state dict carries metadata, such as the digests of the dictionaries.
    model.update({name: means[places[name]] for name in sums})
    drop_training_state(checkpoint)  # which belongs to one checkpoint's own parameters
    return checkpoint


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--inputs", type=arguments.path, nargs="+", required=True, help="checkpoints, or the folder of them"
    )
    parser.add_argument("--output", type=arguments.path, required=True, help="the averaged checkpoint")
    last = parser.add_mutually_exclusive_group()
    last.add_argument("--num-epoch-checkpoints", type=int, metavar="N", help="the last N checkpointE.pt of the folder")
    last.add_argument("--num-update-checkpoints", type=int, metavar="N", help="the last N checkpoint_E_U.pt, by U")
    parser.add_argument("--or-fewer", action="store_true", help="where there are fewer than N, average those there are")
    parser.add_argument(
        "--checkpoint-upper-bound", type=int, metavar="E_OR_U", help="leave out checkpoints after this epoch or update"
    )
    parser.add_argument("--force", action="store_true", help="average checkpoints of different trainings")
    return parser.parse_args()


def main() -> None:
    """Run the command line."""
    package_file("patches/safe_globals.py")["allow_fairseq_globals"]()
    args = parse_args()
    paths = select(args)
    check_output(args.output, paths)
    save(average(paths, args.force), args.output)
    print(f"Wrote the average of {counted(len(paths), 'checkpoint')} to {args.output}")


if __name__ == "__main__":
    command.run(main)
