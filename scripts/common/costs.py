"""What a translation model costs by side and part: parameters, and floating-point operations as torch counts them."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from sret_fairseq import summary
from sret_fairseq.options import SIDES

Counts = Counter[tuple[str, str]]  # by side and part
Lengths = tuple[int, int]  # of source and target, in tokens

EMBEDDINGS, PROJECTIONS, ATTENTION = "embeddings", "self-attention projections", "self-attention"
CROSS, FFN, NLL, VOCABULARY, OTHER = "cross-attention", "FFN", "NLL", "vocabulary projection", "other"
PARTS = (EMBEDDINGS, PROJECTIONS, ATTENTION, CROSS, FFN, NLL, VOCABULARY, OTHER)
# The modules that a part consists of, here and in fairseq. Norms, coefficients and the like are other. A block itself
# calls the last layer of a sublayer and the source's keys and values, which are not counted with the attention then.
MODULES = {
    "self_attn": PROJECTIONS,
    "self_attn.out_proj": PROJECTIONS,
    "cross_attn": CROSS,
    "cross_attn.kv_proj": CROSS,
    "cross_attn.out_proj": CROSS,
    "encoder_attn": CROSS,
    "mlp.fc1": NLL,
    "mlp.fc2": NLL,
    "fc1": FFN,
    "fc2": FFN,
    "output_projection": VOCABULARY,
}
PRODUCTS = ("aten.mm", "aten.addmm")  # of linear layers; what else a self-attention computes is the attention itself


def part_of(name: str) -> tuple[str, str]:
    """The side and the part, of PARTS, that a parameter of either model belongs to, by its name."""
    side, *inner = name.split(".")
    if (part := summary.part_of(name)) == NLL:
        return side, NLL
    parts = [MODULES[module] for module in inner if module in MODULES]
    return side, parts[0] if parts else EMBEDDINGS if part == EMBEDDINGS else OTHER


def cpu_attention(query: Sequence[int], key: Sequence[int], value: Sequence[int], *_: Any, **__: Any) -> int:
    """Operations of the CPU's fused attention, from the shapes of its inputs."""
    return sdpa_flop_count(query, key, value)


def cpu_attention_backward(
    gradient: Sequence[int], query: Sequence[int], key: Sequence[int], value: Sequence[int], *_: Any, **__: Any
) -> int:
    """The same of its backward pass."""
    return sdpa_backward_flop_count(gradient, query, key, value)


def counter() -> FlopCounterMode:
    """torch's counter of what runs in its context; the fused attention of GPUs it knows by itself, that of CPUs not."""
    aten = torch.ops.aten
    mapping = {
        aten._scaled_dot_product_flash_attention_for_cpu: cpu_attention,
        aten._scaled_dot_product_flash_attention_for_cpu_backward: cpu_attention_backward,
    }
    return FlopCounterMode(display=False, custom_mapping=mapping)


def flop(model: nn.Module, lengths: Lengths) -> Counts:
    """The FLOP by side and part of a model as its options build it."""
    tokens = [torch.full((1, length), 4) for length in lengths]

    with torch.no_grad(), counter() as counted:
        model.eval()(tokens[0], torch.tensor([lengths[0]]), tokens[1])
    counts: Counts = Counter()
    for path, by_operation in counted.get_flop_counts().items():
        _, _, name = path.partition(".")
        if name in SIDES:
            counts[name, OTHER] += sum(by_operation.values())  # less what is counted as another part below
        names = name.split(".")
        part = MODULES.get(".".join(names[-2:])) or MODULES.get(names[-1])
        if part is None:
            continue
        for operation, count in by_operation.items():
            attention = names[-1] == "self_attn" and str(operation) not in PRODUCTS
            counts[names[0], ATTENTION if attention else part] += count
            counts[names[0], OTHER] -= count
    return +counts


def parameters(model: nn.Module) -> Counts:
    """The number of parameters by side and part."""
    counts: Counts = Counter()
    for name, parameter in model.named_parameters():
        counts[part_of(name)] += parameter.numel()
    return counts
