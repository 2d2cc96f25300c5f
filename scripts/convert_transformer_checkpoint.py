"""Turn a checkpoint of fairseq's ``transformer`` into one of ``sret_transformer``, to go on training from it.

R passes through a block stand for R of the old layers: its weights are one of theirs, or their mean. What is new (the
projections after the passes, the residual coefficients) starts as the identity. Tensors are written in float32 and
without optimizer state. See docs/warm_start.md.
"""

import argparse
import logging
import shlex
from pathlib import Path
from typing import Any

import torch
from fairseq import checkpoint_utils
from fairseq import options as fairseq_options
from fairseq.models import ARCH_CONFIG_REGISTRY, ARCH_MODEL_NAME_REGISTRY
from fairseq.models.transformer import TransformerModel
from omegaconf import OmegaConf
from torch import Tensor, nn

from common import arguments, building, checkpoints, command, loading
from convert import tensors
from sret_fairseq import options
from sret_fairseq.model import SretTransformerModel
from sret_fairseq.summary import parameter_counts, summary_lines

OWN = ("input", "output", "layers", "seed")  # the options of this script; all others are the model's


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint, old forms included, or exit with one sentence."""
    checkpoints.load(path)  # says what is wrong with a file
    try:
        state = checkpoint_utils.load_checkpoint_to_cpu(str(path))
        complete = state["cfg"].model is not None
    except SystemExit:  # says what is wrong
        raise
    except Exception as error:  # of other forms fairseq raises nearly anything
        raise SystemExit(f"--input: {path} is no checkpoint of fairseq: {loading.sentence(error)}.") from error
    if not complete:
        raise SystemExit(f"--input: {path} is no checkpoint of fairseq: it lacks the options of its model.")
    return state


def source_options(path: Path, state: dict[str, Any]) -> argparse.Namespace:
    """The complete options of a checkpoint's transformer, or exit with one sentence if it is another model."""
    args = state["cfg"].model
    if OmegaConf.is_config(args):
        args = argparse.Namespace(**OmegaConf.to_container(args, resolve=True))
    arch = getattr(args, "arch", None) or getattr(args, "_name", None)
    if ARCH_MODEL_NAME_REGISTRY.get(arch) != "transformer":
        raise SystemExit(f"--input: {path} holds the architecture {arch}, which is none of fairseq's transformer.")
    missing = {f"{side}.embed_tokens.weight" for side in options.SIDES} - state["model"].keys()
    if missing:
        raise SystemExit(f"--input: {path} has no tensor {min(missing)}, which every transformer has.")
    ARCH_CONFIG_REGISTRY[arch](args)
    options.refuse_unsupported(args)
    # The embeddings and the layers to keep are in the checkpoint already.
    for side in options.SIDES:
        kept = getattr(args, f"{side}_layers_to_keep", None)
        if kept:
            setattr(args, f"{side}_layers", len(kept.split(",")))
        setattr(args, f"{side}_layers_to_keep", None)
        setattr(args, f"{side}_embed_path", None)
    return args


def build_source(path: Path, args: argparse.Namespace, state: dict[str, Any], task: argparse.Namespace) -> nn.Module:
    """The transformer of a checkpoint, in which old names are new ones; or exit with one sentence."""
    model = TransformerModel.build_model(argparse.Namespace(**vars(args)), task)
    try:
        model.load_state_dict(state["model"], strict=True)
    except RuntimeError as error:
        detail = " ".join(str(error).split("\n\t")[1:2]).strip() or error
        raise SystemExit(f"--input: the tensors of {path} do not fit its own options: {detail}") from error
    return model


def target_options(path: Path, args: argparse.Namespace, given: dict[str, Any]) -> argparse.Namespace:
    """The options of the sret_transformer, or exit with one sentence.

    Args:
        path: of the checkpoint, for messages.
        args: the options of its transformer.
        given: what the command line says about the new model, None for what it leaves open.
    """
    target = argparse.Namespace(**{**vars(args), **given})
    target.arch = target._name = "sret_transformer"
    options.default(target, "encoder_slices", "1")  # slices would change what was learnt
    options.set_defaults(target)
    for side in options.SIDES:
        layers, passes = getattr(args, f"{side}_layers"), getattr(target, f"{side}_recursions")
        span = getattr(target, f"{side}_recursion_span")
        if passes < 1 or span < 1 or layers % (passes * span):
            raise SystemExit(
                f"--{side}-recursions {passes} x --{side}-recursion-span {span} has to divide the {layers} {side} "
                f"layers of {path}."
            )
        setattr(target, f"{side}_layers", layers // passes)
    return target


def new_checkpoint(args: argparse.Namespace, model: dict[str, Tensor], state: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint as fairseq's trainer writes it, before the first update and without optimizer state.

    Args:
        args: the options of the sret_transformer, as its build left them.
        model: its state.
        state: the checkpoint of the transformer, for all else.
    """
    cfg = OmegaConf.to_container(state["cfg"], resolve=True, enum_to_str=True)
    history = {"criterion_name": "", "optimizer_name": "", "lr_scheduler_state": {}, "num_updates": 0}
    return {
        "args": None,
        "cfg": {**cfg, "model": args},
        "model": model,
        "criterion": state.get("criterion"),
        "optimizer_history": [history],
        "task_state": state.get("task_state", {}),
        "extra_state": {"train_iterator": {"epoch": 1}},
    }


def training_args(args: argparse.Namespace) -> list[str]:
    """The options of fairseq-train that build the same model: all that differ from the architecture's defaults."""
    defaults = fairseq_options.parse_args_and_arch(
        fairseq_options.get_training_parser(), ["data-bin", "--arch", "sret_transformer"]
    )
    parser = argparse.ArgumentParser(add_help=False)
    SretTransformerModel.add_args(parser)
    result = ["--arch", "sret_transformer"]
    for action in parser._actions:
        value, default = getattr(args, action.dest, None), getattr(defaults, action.dest, None)
        if value is None or value == default:
            continue
        if isinstance(action, argparse.BooleanOptionalAction):  # --x and --no-x
            result.append(action.option_strings[0 if value else 1])
        elif action.nargs == 0:
            result += action.option_strings[:1] if value == action.const else []
        else:
            result += [action.option_strings[0], ",".join(map(str, value)) if isinstance(value, list) else str(value)]
    return result


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="Pre- or post-norm is as in the checkpoint.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--input", type=arguments.path, required=True, help="checkpoint of fairseq's transformer")
    parser.add_argument("--output", type=arguments.path, required=True, help="checkpoint of sret_transformer")
    parser.add_argument(
        "--layers",
        choices=tensors.CHOICES,
        default="average",
        help="what a block gets of the layers that its passes stand for: the first, the average of all, or layers "
        "spread evenly over the stack, its first and last among them (default: average)",
    )
    parser.add_argument("--seed", type=arguments.seed, default=1, help="of what starts at random (default: 1)")
    options.add_args(parser)
    for action in parser._actions:
        if action.dest == "encoder_slices":
            action.help = action.help.replace(options.SLICES_DEFAULT, "(default: 1, as the layers were trained)")
        elif action.dest.endswith("_normalize_before"):
            action.help = argparse.SUPPRESS  # refused below
    args = parser.parse_args()
    for side in options.SIDES:
        if hasattr(args, f"{side}_normalize_before"):
            raise SystemExit(f"--no-{side}-normalize-before: pre- or post-norm is as in --input; leave it out.")
    return args


def check_output(output: Path, source: Path) -> None:
    """Exit with one sentence if the output cannot be written there."""
    if not output.parent.is_dir():
        raise SystemExit(f"--output: the folder {output.parent} does not exist.")
    if output.is_dir() or output.resolve() == source.resolve():
        raise SystemExit(f"--output: {output} is a folder or the input; name another file.")


def main() -> None:
    """Run the command line."""
    logging.getLogger("sret_fairseq").setLevel(logging.WARNING)  # the summary below says it
    own = parse_args()
    check_output(own.output, own.input)
    state = load(own.input)
    args = source_options(own.input, state)
    sizes = (len(state["model"][f"{side}.embed_tokens.weight"]) for side in options.SIDES)
    task = building.task(*sizes)
    source = build_source(own.input, args, state, task)
    given = {name: value for name, value in vars(own).items() if name not in OWN}
    torch.manual_seed(own.seed)
    target = target_options(own.input, args, given)
    model = SretTransformerModel.build_model(target, task)
    try:
        new, notes = tensors.convert_tensors(model, source.state_dict(), own.layers)
    except KeyError as error:
        raise SystemExit(f"--input: {own.input} has no tensor {error.args[0]}; it is of a form too old.") from error
    model.load_state_dict(new)
    shared = dict(model.state_dict())  # where embeddings that are one table are one
    checkpoints.save(new_checkpoint(target, shared, state), own.output)
    for name, note in notes.items():
        print(f"{name}: {note}")
    print(f"transformer parameters: total {parameter_counts(source)['total']:,}")
    print(*summary_lines(model), sep="\n")
    print(f"Train it with: --finetune-from-model {shlex.join([str(own.output), *training_args(target)])}")


if __name__ == "__main__":
    command.run(main)
