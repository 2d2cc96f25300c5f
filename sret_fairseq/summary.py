"""What a model is made of, for the log."""

from typing import Dict, List

from torch import nn

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


def summary_lines(model: nn.Module) -> List[str]:
    """Parameters, blocks, passes, virtual depth and slices of a SretTransformerModel, one line each part."""
    counts = ", ".join(f"{part} {count:,}" for part, count in parameter_counts(model).items())
    lines = [f"sret_transformer parameters: {counts}"]
    depth = 0
    for side in SIDES:
        groups = len(getattr(model, side).layers)
        span = getattr(model.cfg, f"{side}_recursion_span")
        passes = getattr(model.cfg, f"{side}_recursions")
        depth += groups * span * passes
        lines.append(
            f"sret_transformer {side}: {groups * span} distinct blocks x {passes} passes = virtual depth "
            f"{groups * span * passes}, looped {span} together, "
            + ("pre-norm" if getattr(model.cfg, side).normalize_before else "post-norm")
        )
    slices = ", ".join(map(str, slices_by_pass(model.cfg)))
    lines.append(
        f"sret_transformer: virtual depth {depth} in total; encoder slices by pass: {slices}, "
        f"permutation {model.cfg.slice_permutation}; decoder self-attention is not sliced"
    )
    return lines
