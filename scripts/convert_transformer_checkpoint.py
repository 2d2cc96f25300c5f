"""Turn a checkpoint of fairseq's ``transformer`` into one of ``sret_transformer``, to go on training from it.

R passes through a block stand for R of the old layers: its weights are one of theirs, or their mean. What is new (the
projections after the passes, the residual coefficients) starts as the identity. Tensors are written in float32 and
without optimizer state. See docs/warm_start.md.
"""

import argparse
import logging
import pickle
import re
import shlex
from pathlib import Path
from typing import Dict, List, NamedTuple, Tuple

import torch
from fairseq import checkpoint_utils
from fairseq import options as fairseq_options
from fairseq.data import Dictionary
from fairseq.models import ARCH_CONFIG_REGISTRY, ARCH_MODEL_NAME_REGISTRY
from fairseq.models.transformer import TransformerModel
from omegaconf import OmegaConf
from torch import Tensor, nn

from common import checkpoints, command, loading
from sret_fairseq import options
from sret_fairseq.model import SretTransformerModel
from sret_fairseq.summary import parameter_counts, summary_lines

CHOICES = ("first", "average", "spread")
OWN = ("input", "output", "layers", "seed")  # the options of this script; all others are the model's

# Parts of a block, as fairseq's layers call them.
THEIR_PARTS = {
    "cross_attn.": "encoder_attn.",
    "self_attn_residual.layer_norm.": "self_attn_layer_norm.",
    "cross_attn_residual.layer_norm.": "encoder_attn_layer_norm.",
    "ffn_residual.layer_norm.": "final_layer_norm.",
    "ffn.": "",
}
BLOCK = re.compile(r"(encoder|decoder)\.layers\.(\d+)\.blocks\.(\d+)\.(.+)")
PROJECTION = re.compile(r"(encoder|decoder)\.layers\.(\d+)\.projections\.\d+\.(\d+)\.(.+)")
LAST_NORM = "ffn_residual.layer_norm."


class Origin(NamedTuple):
    """Where a tensor of the new model comes from.

    Attributes:
        names: the tensors of each old layer that are stacked; empty for what is new.
        note: the same for the reader.
    """

    names: List[List[str]]
    note: str


def fairseq_names(name: str) -> List[str]:
    """The tensors of a layer of fairseq that, stacked, are this one of a block, such as ``self_attn.qkv_proj.bias``."""
    for ours, theirs in THEIR_PARTS.items():
        if name.startswith(ours):
            name = theirs + name.removeprefix(ours)
            break
    fused = re.fullmatch(r"(.+\.)(qkv|kv)_proj(\..+)", name)
    return [f"{fused[1]}{part}_proj{fused[3]}" for part in fused[2]] if fused else [name]


def replaced_layers(blocks: int, span: int, passes: int, reverse: bool) -> List[List[int]]:
    """For each block the layers that its passes stand for: the n-th application of all is layer n."""
    replaced: List[List[int]] = [[] for _ in range(blocks)]
    applications = 0
    for start in range(0, blocks, span):
        for pass_index in range(passes):
            for block in reversed(range(span)) if reverse and pass_index % 2 == 1 else range(span):
                replaced[start + block].append(applications)
                applications += 1
    return replaced


def chosen_layers(model: SretTransformerModel, side: str, choice: str) -> List[List[int]]:
    """For each block of a side the layers whose mean it gets.

    Args:
        model: the sret_transformer.
        side: ``encoder`` or ``decoder``.
        choice: ``first`` takes the layer of a block's first pass, ``average`` those of all its passes; ``spread``
            steps evenly through the stack, from its first layer to its last.
    """
    span, passes = getattr(model.cfg, f"{side}_recursion_span"), getattr(model.cfg, f"{side}_recursions")
    blocks = len(getattr(model, side).layers) * span
    replaced = replaced_layers(blocks, span, passes, model.cfg.recursion_reverse)
    if choice == "first":
        return [layers[:1] for layers in replaced]
    if choice == "spread":
        return [[block * (blocks * passes - 1) // max(1, blocks - 1)] for block in range(blocks)]
    return replaced


def origin(name: str, cfg, layers: Dict[str, List[List[int]]]) -> Origin:
    """Where a tensor of the new model comes from.

    Args:
        name: of the tensor.
        cfg: the TransformerConfig of the new model.
        layers: for each side and block the layers whose mean it gets.
    """
    inside = BLOCK.fullmatch(name) or PROJECTION.fullmatch(name)
    if not inside:
        return Origin([[name]], "copied")
    side, group, index, part = inside.groups()
    if ".coefficients." in part:
        return Origin([], "new: coefficient 1, stored as 0")
    # A post-norm NLL ends in a LayerNorm, which undoes the scales and biases of the one before it. So they move
    # there, and the block ends in a LayerNorm without: normalising twice is normalising once, and the NLL is the
    # identity.
    moves_norm = cfg.nll_ratio > 0 and not getattr(cfg, side).normalize_before
    suffix = ""
    if PROJECTION.fullmatch(name):
        if part.startswith("mlp.fc2."):
            return Origin([], "new: 0, so that the NLL is the identity")
        if part.startswith("mlp.fc1."):
            return Origin([], "new: random")
        if not moves_norm:
            return Origin([], "new: 1 and 0, the LayerNorm of the NLL")
        part = part.replace("residual.layer_norm.", LAST_NORM)
        suffix = ", moved here from the end of the block"
    elif moves_norm and part.startswith(LAST_NORM):
        return Origin([], "new: 1 and 0, the old numbers moved into the NLLs")
    block = int(group) * getattr(cfg, f"{side}_recursion_span") + int(index)
    theirs = fairseq_names(part)
    if len(theirs) > 1:
        suffix = ", fused " + " ".join(each.split(".")[-2][0] for each in theirs)
    numbers = layers[side][block]
    verb = "copied from layer" if len(numbers) == 1 else "averaged over layers"
    return Origin(
        [[f"{side}.layers.{number}.{each}" for each in theirs] for number in numbers],
        f"{verb} {', '.join(map(str, numbers))}{suffix}",
    )


def convert_tensors(
    model: SretTransformerModel, theirs: Dict[str, Tensor], choice: str
) -> Tuple[Dict[str, Tensor], Dict[str, str]]:
    """The tensors of a sret_transformer from those of a transformer.

    Args:
        model: gives the names, the options, and the values of what is new.
        theirs: the state of the transformer.
        choice: one of CHOICES.

    Returns:
        the state for the model, and for each tensor of either what was done with it.

    Raises:
        KeyError: the transformer lacks a tensor.
    """
    layers = {side: chosen_layers(model, side, choice) for side in options.SIDES}
    tensors, notes, used = {}, {}, set()
    for name, initial in model.state_dict().items():
        names, notes[name] = origin(name, model.cfg, layers)
        if names:
            stacks = [torch.cat([theirs[part] for part in parts]) for parts in names]
            tensors[name] = torch.stack(stacks).mean(dim=0) if len(stacks) > 1 else stacks[0]
            used.update(part for parts in names for part in parts)
        elif ".mlp.fc2." in name:
            tensors[name] = torch.zeros_like(initial)
        else:
            tensors[name] = initial
    notes.update({name: "dropped" for name in theirs if name not in used})
    return tensors, notes


def load(path: Path) -> dict:
    """Read a checkpoint, old forms included, or exit with one sentence."""
    try:
        state = checkpoint_utils.load_checkpoint_to_cpu(str(path))
        complete = state["cfg"].model is not None and all(map(torch.is_tensor, state["model"].values()))
    except SystemExit:  # says which checksum is wrong
        raise
    except OSError as error:
        raise SystemExit(f"--input: {path} cannot be read: {error.strerror or error}.") from error
    except pickle.UnpicklingError as error:
        culprit = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = (
            f"carries {culprit[1]}, which may not stand in a checkpoint" if culprit else "is damaged or no checkpoint"
        )
        raise SystemExit(f"--input: {path} {what}; nothing of it was run.") from error
    except Exception as error:  # a damaged file makes torch and fairseq raise nearly anything
        raise SystemExit(f"--input: {path} is truncated, damaged or no checkpoint of fairseq.") from error
    if not complete:
        raise SystemExit(f"--input: {path} is no checkpoint of fairseq: it lacks a model or its options.")
    return state


def source_options(path: Path, state: dict) -> argparse.Namespace:
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


class Sizes:
    """As much of a translation task as building a model needs: dictionaries as long as the embeddings."""

    def __init__(self, tensors: Dict[str, Tensor]):
        self.source_dictionary = self.dictionary(len(tensors["encoder.embed_tokens.weight"]))
        self.target_dictionary = self.dictionary(len(tensors["decoder.embed_tokens.weight"]))

    @staticmethod
    def dictionary(words: int) -> Dictionary:
        """A dictionary of so many symbols, fairseq's own among them; those of the same length are equal."""
        result = Dictionary()
        for index in range(words - len(result)):
            result.add_symbol(f"word{index}")
        return result


def build_source(path: Path, args, state: dict, sizes: Sizes) -> nn.Module:
    """The transformer of a checkpoint, in which old names are new ones; or exit with one sentence."""
    model = TransformerModel.build_model(argparse.Namespace(**vars(args)), sizes)
    try:
        model.load_state_dict(state["model"], strict=True)
    except RuntimeError as error:
        detail = " ".join(str(error).split("\n\t")[1:2]).strip() or error
        raise SystemExit(f"--input: the tensors of {path} do not fit its own options: {detail}") from error
    return model


def target_options(path: Path, args, given: Dict[str, object]) -> argparse.Namespace:
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


def new_checkpoint(args: argparse.Namespace, tensors: Dict[str, Tensor], state: dict) -> dict:
    """A checkpoint as fairseq's trainer writes it, before the first update and without optimizer state.

    Args:
        args: the options of the sret_transformer, as its build left them.
        tensors: its state.
        state: the checkpoint of the transformer, for all else.
    """
    cfg = OmegaConf.to_container(state["cfg"], resolve=True, enum_to_str=True)
    history = {"criterion_name": "", "optimizer_name": "", "lr_scheduler_state": {}, "num_updates": 0}
    return {
        "args": None,
        "cfg": {**cfg, "model": args},
        "model": tensors,
        "criterion": state.get("criterion"),
        "optimizer_history": [history],
        "task_state": state.get("task_state", {}),
        "extra_state": {"train_iterator": {"epoch": 1}},
    }


def training_words(args) -> List[str]:
    """The options of fairseq-train that build the same model: all that differ from the architecture's defaults."""
    defaults = fairseq_options.parse_args_and_arch(
        fairseq_options.get_training_parser(), ["data-bin", "--arch", "sret_transformer"]
    )
    parser = argparse.ArgumentParser(add_help=False)
    SretTransformerModel.add_args(parser)
    words = ["--arch", "sret_transformer"]
    for action in parser._actions:
        value, default = getattr(args, action.dest, None), getattr(defaults, action.dest, None)
        if value is None or value == default:
            continue
        if action.nargs == 0:
            words += action.option_strings[:1] if value == action.const else []
        else:
            words += [action.option_strings[0], ",".join(map(str, value)) if isinstance(value, list) else str(value)]
    return words


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="With --encoder-slices left out the encoder is not sliced. Pre- or post-norm is as in the checkpoint.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--input", type=Path, required=True, help="checkpoint of fairseq's transformer")
    parser.add_argument("--output", type=Path, required=True, help="checkpoint of sret_transformer")
    parser.add_argument(
        "--layers",
        choices=CHOICES,
        default="average",
        help="what a block gets of the layers that its passes stand for: the first, the average of all, or layers "
        "spread evenly over the stack, its first and last among them (default: average)",
    )
    parser.add_argument("--seed", type=loading.seed, default=1, help="of what starts at random (default: 1)")
    options.add_args(parser)
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
    command = parse_args()
    check_output(command.output, command.input)
    state = load(command.input)
    args = source_options(command.input, state)
    sizes = Sizes(state["model"])
    source = build_source(command.input, args, state, sizes)
    given = {name: value for name, value in vars(command).items() if name not in OWN}
    torch.manual_seed(command.seed)
    target = target_options(command.input, args, given)
    model = SretTransformerModel.build_model(target, sizes)
    try:
        tensors, notes = convert_tensors(model, source.state_dict(), command.layers)
    except KeyError as error:
        raise SystemExit(f"--input: {command.input} has no tensor {error.args[0]}; it is of a form too old.") from error
    model.load_state_dict(tensors)
    checkpoints.save(new_checkpoint(target, tensors, state), command.output)
    for name, note in notes.items():
        print(f"{name}: {note}")
    print(f"transformer parameters: total {parameter_counts(source)['total']:,}")
    print(*summary_lines(model), sep="\n")
    print(f"Train it with: --finetune-from-model {shlex.join([str(command.output), *training_words(target)])}")


if __name__ == "__main__":
    command.run(main)
