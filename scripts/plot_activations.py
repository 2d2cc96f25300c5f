"""Show what each application of a block does to the residual stream, encoder and decoder, by virtual depth.

Writes activations.png and activations.csv: the distribution of the stream after each application (every block x pass),
and how far the application moved it: the cosine between the stream before and after, and |x' - x| / |x|, means over the
real tokens. A pass with cosine 1 and change 0 does nothing. The decoder reads the reference (teacher forcing). The
layers of fairseq's transformer are blocks of one pass.
"""

import argparse
import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common import arguments, command, loading, output
from common.words import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Application = tuple[int, Tensor, Tensor]  # block from 1, stream before and after, (T, B, C)
Row = tuple[str | int | float, ...]  # as in HEADER

SIDES = ("encoder", "decoder")
PERCENTILES = {"p1": 1, "p25": 25, "median": 50, "p75": 75, "p99": 99}
HEADER = ("side", "depth", "block", "pass", "mean", "std", *PERCENTILES, "cosine", "relative_change")


def blocks(side: nn.Module) -> list[tuple[nn.Module, list[nn.Module]]]:
    """Return the distinct blocks of an encoder or decoder, each with the modules whose output ends an application."""
    found = []
    for layer in side.layers:
        if hasattr(layer, "projections"):  # a recursion group: an NLL, or its stand-in, follows each pass
            ends = zip(*layer.projections)
            found += [(block, list(modules)) for block, modules in zip(layer.blocks, ends)]
        else:
            found.append((layer, [layer]))
    return found


@contextlib.contextmanager
def applications(side: nn.Module) -> Iterator[list[Application]]:
    """Give a list that grows by an Application whenever a block is applied."""
    seen: list[Application] = []
    started: list[tuple[int, Tensor]] = []

    def start(number: int) -> Callable[..., None]:
        return lambda module, inputs: started.append((number, inputs[0]))

    def end(module: nn.Module, inputs: Any, output: Any) -> None:
        number, before = started.pop()
        seen.append((number, before, output[0] if isinstance(output, tuple) else output))

    with contextlib.ExitStack() as hooks:
        for number, (block, ends) in enumerate(blocks(side), 1):
            hooks.callback(block.register_forward_pre_hook(start(number)).remove)
            for module in ends:
                hooks.callback(module.register_forward_hook(end).remove)
        yield seen


def movement(before: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and relative change of each token, both (N,), from the stream before and after, (N, C)."""
    cosine = F.cosine_similarity(before, after, dim=1)
    change = (after - before).norm(dim=1) / before.norm(dim=1).clamp_min(torch.finfo(before.dtype).tiny)
    return cosine, change


@torch.no_grad()
def observe(model: nn.Module, batches: Sequence[dict[str, Any]]) -> list[Row]:
    """Return rows, by side and depth, over all real tokens of the batches. The model stays as it is."""
    rows = []
    for name in SIDES:
        side = getattr(model, name)
        tokens_of = "src_tokens" if name == "encoder" else "prev_output_tokens"
        observed = []  # of each batch: of each application the values, cosines and changes
        for batch in batches:
            with applications(side) as seen:
                model(**batch["net_input"])
            real = batch["net_input"][tokens_of].ne(side.padding_idx).t()
            order = [number for number, _, _ in seen]
            observed.append([(after[real], *movement(before[real], after[real])) for _, before, after in seen])
        passes = Counter()
        for depth, (number, parts) in enumerate(zip(order, zip(*observed)), 1):
            passes[number] += 1
            values, cosines, changes = (torch.cat(part).double().cpu().numpy() for part in zip(*parts))
            percentiles = np.percentile(values, list(PERCENTILES.values()))
            row = (values.mean(), values.std(), *percentiles, cosines.mean(), changes.mean())
            rows.append((name, depth, number, passes[number], *map(float, row)))
    return rows


def draw(rows: Iterable[Row]) -> "Figure":
    """Return a figure, a column for each side: the distributions above, what the applications do below."""
    figure = output.new_figure(figsize=(12, 8), layout="constrained")
    panels = figure.subplots(2, 2, squeeze=False)
    for column, name in enumerate(SIDES):
        own = [dict(zip(HEADER, row)) for row in rows if row[0] == name]
        depths = [row["depth"] for row in own]
        of = {field: [row[field] for row in own] for field in HEADER}
        above, below = panels[:, column]
        above.fill_between(depths, of["p1"], of["p99"], alpha=0.2, color="C0", label="1st to 99th percentile")
        above.fill_between(depths, of["p25"], of["p75"], alpha=0.4, color="C0", label="quartiles")
        above.plot(depths, of["median"], marker="o", color="C0", label="median")
        above.set(title=name, ylabel="residual stream")
        below.plot(depths, of["cosine"], marker="o", color="C1", label="cosine of before and after")
        below.plot(depths, of["relative_change"], marker="s", color="C2", label="|x' - x| / |x|")
        below.set(xlabel="application: block.pass", ylabel="mean over tokens")
        for axes in (above, below):
            axes.set_xticks(depths, [f"{row['block']}.{row['pass']}" for row in own])
            axes.grid(alpha=0.3)
            axes.legend()
    return figure


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = loading.parser(__doc__)
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument(
        "--index", type=arguments.at_least(0), metavar="N", help="only sentence N of the subset, from 0"
    )
    choice.add_argument(
        "--sentences", type=arguments.at_least(1), default=100, metavar="K", help="the first K sentences (default: 100)"
    )
    return parser.parse_args()


def main() -> None:
    """Run the command line."""
    args = parse_args()
    model, task = loading.load(args.checkpoint, args.data)
    wanted = range(args.sentences) if args.index is None else range(args.index, args.index + 1)
    batches = loading.batches(model, task, args.subset, wanted, args.max_tokens)
    output.picture_folder(args.out)
    rows = observe(model, batches)
    output.write_csv(args.out / "activations.csv", HEADER, rows)
    output.save_figure(draw(rows), args.out / "activations.png")
    sentences = sum(batch["nsentences"] for batch in batches)
    print(f"{counted(len(rows), 'application')} over {counted(sentences, 'sentence')} of {args.subset}.")
    print(f"Wrote {args.out}/activations.png and activations.csv")


if __name__ == "__main__":
    command.run(main)
