"""What training a recipe's models on GPUs takes: batch, hours and memory, computed before any GPU is at hand.

Operations are counted (as scripts/count_flops.py does, times three for a training step), and so are the bytes that a
forward pass keeps for the backward one. What turns them into time is assumed, and can be set: the part of a GPU's
speed that products reach, the host's time to launch a kernel, the rate at which gradients are exchanged. Nothing was
measured on a GPU. Prints a table; --json writes the numbers with the assumptions.

    seconds of an update = update_freq x max(operations / (speed x utilisation), launches x time of a launch)
                           + launches of the optimiser x time of a launch + bytes of the gradients / rate
"""

import argparse
import logging
import shlex
import sys
from pathlib import Path
from typing import Any, NamedTuple

import torch

import count_flops
from common import arguments, building, command, costs, files, output
from recipe import models, plan, settings

MODELS = ("baseline", "sret", "sret-equal-parameters")
# The big size has the embeddings' width doubled, and by fairseq's scaling-NMT README three times the updates.
SIZES = {"wmt14_en_de": {"base": ("", 1), "big": ("_big", 3)}, "iwslt14_de_en": {"base": ("", 1)}}
VOCABULARY = {"wmt14_en_de": 32_768, "iwslt14_de_en": 10_000}
SHARED = {"wmt14_en_de": "--share-all-embeddings", "iwslt14_de_en": "--share-decoder-input-output-embed"}
PAIRS = {"wmt14_en_de": 3_900_000, "iwslt14_de_en": 160_239}
LENGTH = 30  # pieces of a sentence on either side, its end included
FILL = 0.9  # part of a batch that is no padding
BYTES_A_PARAMETER = 2 + 2 + 4 + 8  # weight and gradient in bf16, master weight, Adam's two averages
LOGIT_COPIES = 3  # of the output layer in float32: logarithms, their gradient, and a temporary
# Kernels of a model with 6 + 6 layers: of a forward and backward pass, which grow with the depth, and of the rest of an
# update in bf16 with fused_adam (some 2,700 with fairseq's adam). They are the operations that were dispatched on a CPU
# in docs/results/data/speed_operations.json, where the rest is of ours.
LAUNCHES = {"transformer": (1098, 61), "sret_transformer": (1433, 61)}
DEPTH = 12
PAIRS_LOOKED_AT = 2, 4


class Costs(NamedTuple):
    """What a model costs.

    Attributes:
        options: that make it.
        parameters: their number.
        operations: of a training step, for a pair of sentences.
        kept: bytes for each pair that the forward pass keeps for the backward one, in float32.
        kept_once: the same for any number of pairs, such as last layers multiplied by their coefficients.
        launches: of a forward and backward pass, and of the rest of an update.
    """

    options: str
    parameters: int
    operations: int
    kept: int
    kept_once: int
    launches: tuple[float, int]


def costs_of(recipe: str, name: str, suffix: str) -> Costs:
    """The Costs of a recipe's model."""
    words = models.model_args(name, recipe)
    words[words.index("--arch") + 1] += suffix
    parsed = count_flops.parse_model(shlex.join([*words, SHARED[recipe]]))
    model = building.build(parsed, VOCABULARY[recipe])
    passes, rest = LAUNCHES["sret_transformer" if "sret" in name else "transformer"]
    # Blocks times passes of ours; fairseq's transformer has no such options.
    depth = sum(
        getattr(parsed, f"{side}_layers") * (getattr(parsed, f"{side}_recursions", None) or 1)
        for side in ("encoder", "decoder")
    )
    kept, kept_once = kept_bytes(model)
    return Costs(
        options=shlex.join(words),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        operations=3 * costs.flop(model, (LENGTH, LENGTH)).total(),
        kept=kept,
        kept_once=kept_once,
        launches=(passes * depth / DEPTH, rest),
    )


def kept_bytes(model: torch.nn.Module) -> tuple[int, int]:
    """Bytes that the forward pass keeps for the backward one: for each pair, and for any number of them."""
    fewer, more = (kept_of_pairs(model, pairs) for pairs in PAIRS_LOOKED_AT)
    each = (more - fewer) // (PAIRS_LOOKED_AT[1] - PAIRS_LOOKED_AT[0])
    return each, fewer - each * PAIRS_LOOKED_AT[0]


def kept_of_pairs(model: torch.nn.Module, pairs: int) -> int:
    """The same of so many pairs; memory that several tensors share counts once, and parameters do not count."""
    kept = []  # and held, so that no address is used twice

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.untyped_storage())
        return tensor

    tokens = torch.full((pairs, LENGTH), 4)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = model.train()(tokens, torch.full((pairs,), LENGTH), tokens)
        sizes = {storage.data_ptr(): storage.nbytes() for storage in kept}
        del result
    for parameter in model.parameters():
        sizes.pop(parameter.untyped_storage().data_ptr(), None)
    return sum(sizes.values())


def row(model: Costs, shares: plan.Plan, updates: int, args: argparse.Namespace) -> dict[str, Any]:
    """The numbers of one model on so many GPUs."""
    pairs = shares.batch_tokens * FILL / LENGTH
    host = args.launch_microseconds / 1e6
    forward, rest = model.launches
    compute = model.operations * pairs / shares.processes / (args.teraflops * 1e12 * args.utilisation)
    launching = shares.update_freq * forward * host
    exchange = 0.0
    if shares.processes > 1:  # each sends and receives all gradients, in bf16, about twice
        exchange = 2 * 2 * model.parameters / (args.gigabytes[shares.nodes > 1] * 1e9)
    seconds = max(compute, launching) + rest * host + exchange
    activations = (model.kept * FILL * shares.max_tokens / LENGTH + model.kept_once) / 2
    return {
        "options": model.options,
        "parameters": model.parameters,
        "gpus": shares.processes,
        "update_freq": shares.update_freq,
        "max_tokens": shares.max_tokens,
        "batch_tokens": shares.batch_tokens,
        "updates": updates,
        "epochs": round(updates * pairs / PAIRS[args.recipe], 1),
        "tera_operations_per_update": round(model.operations * pairs / 1e12, 2),
        "seconds_of_operations": round(compute, 4),
        "seconds_of_launches": round(launching, 4),
        "seconds_of_exchange": round(exchange, 4),
        "seconds_per_update": round(seconds, 4),
        "hours": round(seconds * updates / 3600, 1),
        "gpu_hours": round(seconds * updates * shares.processes / 3600, 1),
        "gib_of_weights_and_optimiser": round(BYTES_A_PARAMETER * model.parameters / 2**30, 2),
        "gib_of_activations": round(activations / 2**30, 2),
        "gib_of_logits": round(LOGIT_COPIES * 4 * shares.max_tokens * VOCABULARY[args.recipe] / 2**30, 2),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown."""
    head = [
        "size",
        "model",
        "parameters",
        "GPUs",
        "max-tokens x update-freq",
        "updates",
        "epochs",
        "s/update",
        "bound by",
    ]
    cells = [[*head, "hours", "GPU hours", "GiB a GPU"]]
    for each in rows:
        memory = sum(value for key, value in each.items() if key.startswith("gib_"))
        cells.append(
            [
                *(str(each[key]) for key in ("size", "model")),
                f"{each['parameters'] / 1e6:.1f} M",
                str(each["gpus"]),
                f"{each['max_tokens']:,} x {each['update_freq']}",
                f"{each['updates']:,}",
                *(f"{each[key]:g}" for key in ("epochs", "seconds_per_update")),
                max(("operations", "launches", "exchange"), key=lambda part: each[f"seconds_of_{part}"]),
                *(f"{each[key]:g}" for key in ("hours", "gpu_hours")),
                f"{memory:.0f}",
            ]
        )
    return output.markdown(cells)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    count = arguments.at_least(1)
    parser.add_argument("--recipe", choices=SIZES, default="wmt14_en_de")
    parser.add_argument("--gpus", type=count, nargs="+", default=[1, 8, 64], metavar="N", help="default: 1 8 64")
    parser.add_argument("--gpus-per-machine", type=count, default=8, metavar="N", help="default: 8")
    parser.add_argument(
        "--teraflops", type=arguments.positive, default=989, help="of a GPU in bf16 (default: 989, an H100)"
    )
    parser.add_argument(
        "--utilisation", type=arguments.share, default=0.35, help="part of that which products reach (default: 0.35)"
    )
    parser.add_argument(
        "--launch-microseconds", type=arguments.not_negative, default=8, help="of a kernel (default: 8)"
    )
    exchange = "a second of gradients, inside a machine and between machines (default: 100 10)"
    names = ("INSIDE", "BETWEEN")
    parser.add_argument(
        "--gigabytes", type=arguments.positive, nargs=2, default=[100, 10], metavar=names, help=exchange
    )
    parser.add_argument("--json", type=arguments.path, metavar="FILE", help="write the numbers")
    args = parser.parse_args()
    logging.disable(logging.INFO)
    chosen = settings.read(files.REPOSITORY / "examples" / args.recipe / "train.yaml", Path())
    rows = []
    for size, (suffix, times) in SIZES[args.recipe].items():
        for name in MODELS:
            model = costs_of(args.recipe, name, suffix)
            for gpus in args.gpus:
                shares = plan.share_out(chosen, gpus, -(-gpus // args.gpus_per_machine))
                found = row(model, shares, chosen.max_update * times, args)
                rows.append({"size": size, "model": name, **found})
    print(table(rows))
    if args.json:
        assumed = {key: value for key, value in vars(args).items() if key != "json"}
        files.write_json(args.json, {"command": shlex.join(["python", *sys.argv]), "assumed": assumed, "rows": rows})


if __name__ == "__main__":
    command.run(main)
