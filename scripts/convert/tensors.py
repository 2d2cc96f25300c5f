"""Which tensors of a ``transformer`` make those of a ``sret_transformer``."""

import re
from typing import NamedTuple

import torch
from fairseq.models.transformer import TransformerConfig
from torch import Tensor

from sret_fairseq import options
from sret_fairseq.model import SretTransformerModel

CHOICES = ("first", "average", "spread")

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

    names: list[list[str]]
    note: str


def fairseq_names(name: str) -> list[str]:
    """The tensors of a layer of fairseq that, stacked, are this one of a block, such as ``self_attn.qkv_proj.bias``."""
    for ours, theirs in THEIR_PARTS.items():
        if name.startswith(ours):
            name = theirs + name.removeprefix(ours)
            break
    fused = re.fullmatch(r"(.+\.)(qkv|kv)_proj(\..+)", name)
    return [f"{fused[1]}{part}_proj{fused[3]}" for part in fused[2]] if fused else [name]


def replaced_layers(blocks: int, span: int, passes: int, reverse: bool) -> list[list[int]]:
    """For each block the layers that its passes stand for: the n-th application of all is layer n."""
    replaced: list[list[int]] = [[] for _ in range(blocks)]
    applications = 0
    for start in range(0, blocks, span):
        for pass_index in range(passes):
            for block in reversed(range(span)) if reverse and pass_index % 2 == 1 else range(span):
                replaced[start + block].append(applications)
                applications += 1
    return replaced


def chosen_layers(model: SretTransformerModel, side: str, choice: str) -> list[list[int]]:
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


def origin(name: str, cfg: TransformerConfig, layers: dict[str, list[list[int]]]) -> Origin:
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
    model: SretTransformerModel, theirs: dict[str, Tensor], choice: str
) -> tuple[dict[str, Tensor], dict[str, str]]:
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
