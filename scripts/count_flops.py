"""Count the parameters and the operations of a translation model for one sentence pair, part by part.

The model's options are fairseq-train's own. Beside it stands fairseq's `transformer` with the same options and virtual
depth, or the model of --beside. Neither data nor a checkpoint is needed. Prints a table; --csv and --png write it too.

torch.utils.flop_counter counts one forward pass at evaluation with teacher forcing; a multiplication with its addition
is 2 FLOP:

    a linear layer C -> D for n tokens             2 n C D
    attention of T queries to S keys, width C      4 T S C    (scores, and sums of values; C of all heads together)
    attention in G slices of n slots               4 G n^2 C

A shared block costs this in each of its passes. Where G does not divide a sentence, slices have unused slots, with
queries, keys and values too. The keys and values of cross-attention are projected once for all passes. What a mask
hides counts too: half of causal attention, and all outside the slices of an encoder that reads fewer tokens than
encoder.GATHER_FROM. Look-ups, norms, softmax, activations, biases and residual sums do not count. A tensor that modules
share is a parameter of the first.
"""

import argparse
import logging
import math
import shlex
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NoReturn, TypeVar

from common import arguments, building, command, costs, output
from common.costs import Lengths

try:
    from fairseq import options as fairseq_options
    from fairseq.models import ARCH_MODEL_NAME_REGISTRY
except ImportError as error:
    raise SystemExit(command.missing("fairseq")) from error
from torch import nn

from sret_fairseq import summary
from sret_fairseq.model import SretTransformerModel
from sret_fairseq.options import SIDES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Result = TypeVar("Result")
Row = tuple[str, list[int], list[int]]  # part, parameters and FLOP of both models

# Options of fairseq's transformer whose operations torch does not count, or that only the loss uses.
NOT_COUNTED = "adaptive_softmax_cutoff cross_self_attention base_layers".split()
NOT_COUNTED += [f"{side}_{name}" for side in SIDES for name in ("xformers_att_config", "layers_to_keep")]
HEADER = ("part", "parameters", "parameters_beside", "parameters_ratio", "flop", "flop_beside", "flop_ratio")


def refuse(message: str) -> NoReturn:
    """Exit with one sentence."""
    raise SystemExit(f"count_flops: {' '.join(message.split())}")


def compare(models: Sequence[nn.Module], lengths: Lengths) -> list[Row]:
    """Rows (part, parameters, FLOP) of two models, numbers in pairs, for the parts that one has; last the total."""
    for model in models:
        check_lengths(model, lengths)
    counts = [[costs.parameters(model) for model in models], [costs.flop(model, lengths) for model in models]]
    keys = [(side, part) for side in SIDES for part in costs.PARTS]
    rows = [(" ".join(key), *([count[key] for count in pair] for pair in counts)) for key in keys]
    return [*(row for row in rows if any(row[1] + row[2])), ("total", *([c.total() for c in pair] for pair in counts))]


def parse_model(text: str) -> argparse.Namespace:
    """The Namespace that fairseq-train makes of the options of a transformer or sret_transformer."""
    args = checked(lambda: shlex.split(text))
    finder = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    finder.add_argument("--arch", "-a", default="")
    parser = checked(fairseq_options.get_training_parser)  # which looks at the command line for --user-dir
    finder.error = parser.error = refuse
    arch = finder.parse_known_args(args)[0].arch
    known = [name for name, model in ARCH_MODEL_NAME_REGISTRY.items() if model in ("sret_transformer", "transformer")]
    if arch not in known:
        refuse(f"--arch {arch or 'is missing and'} must be one of {', '.join(sorted(known))}.")
    parsed = checked(lambda: fairseq_options.parse_args_and_arch(parser, ["no-data", *args]))
    if found := [name for name in NOT_COUNTED if getattr(parsed, name, None)]:
        refuse(f"--{found[0].replace('_', '-')} changes what is computed in ways that are not counted; leave it out.")
    return parsed


def checked(call: Callable[[], Result]) -> Result:
    """The result of a call of fairseq, which raises nearly anything for options that do not fit; then one sentence."""
    try:
        return call()
    except SystemExit:
        raise
    except Exception as error:
        refuse(f"the model cannot be built, {type(error).__name__}: {error}")


def unshared(args: argparse.Namespace, model: nn.Module) -> argparse.Namespace:
    """The options of fairseq's ``transformer`` with as many layers as a model of this project applies."""
    if not isinstance(model, SretTransformerModel):
        refuse(f"--arch {args.arch} is fairseq's own; say with --beside what to count beside it.")
    layers = {f"{side}_layers": math.prod(summary.blocks_and_passes(model, side)) for side in SIDES}
    return argparse.Namespace(**{**vars(args), "arch": "transformer", **layers})


def check_lengths(model: nn.Module, lengths: Lengths) -> None:
    """Exit with one sentence if a sentence is longer than the model's positions."""
    for side, option, length in zip(SIDES, ("source", "target"), lengths):
        most = getattr(model, side).max_positions()
        if length > most:
            refuse(f"--{option}-length {length} is more than --max-{option}-positions, {most}.")


def ratio(pair: Sequence[int]) -> str:
    """Of the model to the one beside it, or nothing where that one has none."""
    return f"{pair[0] / pair[1]:.3f}" if pair[1] else ""


def table(rows: Sequence[Row]) -> str:
    """The rows of ``compare`` as a table in Markdown."""
    cells = [["part", "parameters", "beside", "ratio", "MFLOP", "beside", "ratio"]]
    for part, sizes, flop in rows:
        millions = (f"{number / 1e6:,.2f}" for number in flop)
        cells.append([part, *(f"{size:,}" for size in sizes), ratio(sizes), *millions, ratio(flop)])
    return output.markdown(cells)


def draw(rows: Sequence[Row], labels: Sequence[str], title: str) -> "Figure":
    """A figure with a pair of bars for each part that computes anything."""
    parts, pairs = zip(*((part, flop) for part, _, flop in rows[:-1] if any(flop)))
    figure = output.new_figure(figsize=(8, 1.5 + 0.5 * len(parts)), layout="constrained")
    axes = figure.subplots()
    for index, (label, flop) in enumerate(zip(labels, zip(*pairs))):
        places = [place + 0.4 * index - 0.2 for place in range(len(parts))]
        axes.barh(places, [number / 1e6 for number in flop], height=0.4, color=f"C{index}", label=label)
    axes.set(xlabel="MFLOP a sentence pair", title=title, yticks=range(len(parts)), yticklabels=parts)
    axes.invert_yaxis()
    figure.legend(loc="outside lower center", ncols=2)  # not over the bars
    return figure


def parse_args() -> tuple[argparse.Namespace, list[str]]:
    """Parse the command line: this script's options, and what is left for the model."""
    usage = "%(prog)s --arch ARCH [option of fairseq-train ...] --source-length N --target-length M [option ...]"
    parser = argparse.ArgumentParser(usage=usage, description=__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.error = refuse
    add, length = parser.add_argument, arguments.at_least(1)
    add("--source-length", type=length, required=True, help="tokens that the encoder reads, end of sentence included")
    add("--target-length", type=length, required=True, help="tokens that the decoder reads, end of sentence included")
    add("--vocabulary", type=arguments.at_least(5), default=10_000, help="words of each language (default: 10000)")
    add("--beside", metavar="OPTIONS", help="another model, in quotes (default: fairseq's of the same virtual depth)")
    add("--csv", type=arguments.path, metavar="FILE", help="write the numbers as CSV")
    add("--png", type=arguments.path, metavar="FILE", help="draw the operations as bars by part")
    own, rest = parser.parse_known_args()
    if own.csv and own.csv == own.png:
        refuse(f"--csv and --png are both {own.csv}; give two files.")
    return own, rest


def main() -> None:
    """Run the command line."""
    logging.disable(logging.INFO)
    own, rest = parse_args()
    args = parse_model(shlex.join(rest))
    model = checked(lambda: building.build(args, own.vocabulary))
    beside = unshared(args, model) if own.beside is None else parse_model(own.beside)
    models = [model, checked(lambda: building.build(beside, own.vocabulary))]
    lengths = own.source_length, own.target_length
    rows = compare(models, lengths)
    title = f"{own.source_length} source, {own.target_length} target tokens, vocabulary {own.vocabulary:,}"
    print(f"model: {shlex.join(rest)}\nbeside: {own.beside or 'transformer, same options and virtual depth'}")
    print(f"{title}; one forward pass; a multiplication with its addition is 2 FLOP.\n\n{table(rows)}")
    if own.csv:
        lines = [(part, *sizes, ratio(sizes), *flop, ratio(flop)) for part, sizes, flop in rows]
        output.write_csv(own.csv, HEADER, lines)
    if own.png:
        output.save_figure(draw(rows, (args.arch, f"beside: {beside.arch}"), title), own.png)


if __name__ == "__main__":
    command.run(main)
