"""What a model is made of, for the log."""

import itertools
import math
from typing import Dict, List, Tuple

from torch import nn

from sret_fairseq.errors import counted
from sret_fairseq.options import SIDES, slices_by_pass

PARTS = ("embeddings", "blocks", "NLL", "coefficients", "other")


def part_of(name: str) -> str:
    """The part of the model that a parameter belongs to, by its name."""
    if ".coefficients." in name:
        return "coefficients"
    if ".projections." in name:
        return "NLL"
    if ".blocks." in name:
        return "blocks"
    if ".embed_" in name or ".output_projection." in name or ".adaptive_softmax." in name:
        return "embeddings"
    return "other"


def parameter_counts(model: nn.Module) -> Dict[str, int]:
    """Parameters by part, and their total; a tensor shared by several modules counts once.

    The embeddings include positions that are learnt and the projection to the vocabulary; other are the final
    LayerNorms and the like.
    """
    counts = dict.fromkeys(PARTS, 0)
    for name, parameter in model.named_parameters():
        counts[part_of(name)] += parameter.numel()
    return {"total": sum(counts.values()), **counts}


def blocks_and_passes(model: nn.Module, side: str) -> Tuple[int, int]:
    """Distinct blocks of the encoder or the decoder and passes through each; their product is the virtual depth."""
    groups, span = len(getattr(model, side).layers), getattr(model.cfg, f"{side}_recursion_span")
    return groups * span, getattr(model.cfg, f"{side}_recursions")


def runs(numbers: List[int]) -> str:
    """Numbers separated by commas, a long run of the same one in short: ``4, 2 (26 times)``."""
    parts = []
    for number, group in itertools.groupby(numbers):
        times = len(list(group))
        parts += [str(number)] * times if times <= 4 else [f"{number} ({times} times)"]
    return ", ".join(parts)


def side_line(model: nn.Module, side: str) -> str:
    """Blocks, passes and slices of the encoder or the decoder of a SretTransformerModel."""
    cfg = model.cfg
    blocks, passes = blocks_and_passes(model, side)
    span, trained = getattr(cfg, f"{side}_recursion_span"), getattr(cfg, f"{side}_trained_recursions")
    slices = runs(slices_by_pass(cfg, side))
    line = (
        f"sret_transformer {side}: {counted(blocks, 'distinct block')} x {counted(passes, 'pass')} = virtual depth "
        f"{blocks * passes}, looped {span} together, {'pre' if getattr(cfg, side).normalize_before else 'post'}-norm, "
        f"slices by pass: {slices}"
    )
    if passes < trained:
        first = "runs, with its NLL" if passes == 1 else f"{passes} run, with their NLLs"
        line += f"; trained with {counted(trained, 'pass')}, of which the first {first}"
    if passes > trained:
        line += f"; trained with {counted(trained, 'pass')}, the others repeat the last one with its NLL"
    if max(slices_by_pass(cfg, side)) > 1 and getattr(cfg, f"{side}_slices_along_passes"):
        line += "; slices alternate along passes, as in the version of sret_fairseq that trained this checkpoint"
    return line


def summary_lines(model: nn.Module) -> List[str]:
    """Parameters, blocks, passes, virtual depth and slices of a SretTransformerModel, one line each part."""
    counts = ", ".join(f"{part} {count:,}" for part, count in parameter_counts(model).items())
    depth = sum(math.prod(blocks_and_passes(model, side)) for side in SIDES)
    return [
        f"sret_transformer parameters: {counts}",
        *(side_line(model, side) for side in SIDES),
        f"sret_transformer: virtual depth {depth} in total; permutation of slices: {model.cfg.slice_permutation}",
    ]
