"""Count the parameters and the operations of a translation model for one sentence pair, part by part.

The model's options are fairseq-train's own. Beside it stands fairseq's `transformer` with the same options and virtual
depth, or the model of --beside. Neither data nor weights are needed. Prints a table; --csv and --png write it too.

By formula, for one forward pass at evaluation with teacher forcing; a multiplication with its addition is 2 FLOP:

    a linear layer C -> D for n tokens             2 n C D
    attention of T queries to S keys, width C      4 T S C    (scores, and sums of values; C of all heads together)
    attention in G slices of n slots               4 G n^2 C

A shared block costs this in each of its passes. Where G does not divide a sentence, slices have unused slots, with
queries, keys and values too. The keys and values of cross-attention are projected in every pass, since only incremental
decoding keeps them. What a mask hides counts too, as it does in torch.utils.flop_counter: half of causal
attention, and all outside the slices of an encoder that reads fewer tokens than encoder.GATHER_FROM. Look-ups, norms,
softmax, activations, biases and residual sums do not count. A tensor that modules share is a parameter of the first.
"""

import argparse
import logging
import math
import shlex
from collections import Counter
from pathlib import Path

import torch
from fairseq import options as fairseq_options
from fairseq.data import Dictionary
from fairseq.models import ARCH_MODEL_NAME_REGISTRY, ARCH_MODEL_REGISTRY

from common import command, output
from sret_fairseq import summary
from sret_fairseq.model import SretTransformerModel
from sret_fairseq.options import SIDES

EMBEDDINGS, PROJECTIONS, ATTENTION = "embeddings", "self-attention projections", "self-attention"
CROSS, FFN, NLL, VOCABULARY, OTHER = "cross-attention", "FFN", "NLL", "vocabulary projection", "other"
PARTS = (EMBEDDINGS, PROJECTIONS, ATTENTION, CROSS, FFN, NLL, VOCABULARY, OTHER)
# What the names of a part's parameters have in them, here and in fairseq. Norms, coefficients and the like are other.
MARKS = {
    ".output_projection.": VOCABULARY,
    ".self_attn.": PROJECTIONS,
    ".cross_attn.": CROSS,
    ".encoder_attn.": CROSS,
    ".fc1.": FFN,
    ".fc2.": FFN,
}
OF_ENCODER = ("k_proj", "v_proj", "kv_proj")  # what cross-attention projects from the encoder's output
# Options of fairseq's transformer that make it compute what the formulas above do not say.
NOT_COUNTED = "adaptive_softmax_cutoff cross_self_attention base_layers".split()
NOT_COUNTED += [f"{side}_{name}" for side in SIDES for name in ("xformers_att_config", "layers_to_keep")]
HEADER = ("part", "parameters", "parameters_beside", "parameters_ratio", "flop", "flop_beside", "flop_ratio")


def refuse(message):
    """Exit with one sentence."""
    raise SystemExit(f"count_flops: {' '.join(message.split())}")


def part_of(name):
    """The side and the part, of PARTS, that a parameter of either model belongs to, by its name."""
    side, part = name.split(".")[0], summary.part_of(name)
    if part in (EMBEDDINGS, NLL) and ".output_projection." not in name:
        return side, part
    return side, next((part for mark, part in MARKS.items() if mark in name), OTHER)


def self_attention_slices(model, side, length):
    """The slices of each pass through a block and the slots of one: [(G, n)]; (1, length) is a whole sentence."""
    stack, passes = getattr(model, side), []
    for pass_index, slices in enumerate(getattr(stack, "slices", [1])):
        size = math.ceil(length / slices)
        if length < getattr(stack, "gather_from", 0):
            slices, size = 1, length  # one mask for the whole sentence
        elif side == "decoder" and slices > 1 and pass_index % 2 == 0:
            slices, size = math.ceil(length / stack.chunk_size), min(stack.chunk_size, length)
        passes.append((slices, size))
    return passes


def operations(model, lengths):
    """The FLOP by side and part of a model as its options build it; ``lengths`` in tokens, of source and target."""
    counts = Counter()
    for side, length in zip(SIDES, lengths):
        slices = self_attention_slices(model, side, length)
        passes, slots = len(slices), sum(count * size for count, size in slices)
        tokens = {PROJECTIONS: slots, CROSS: passes * length, FFN: passes * length}  # an NLL runs in one pass
        for name, module in getattr(model, side).named_modules():
            last = name.split(".")[-1]
            if isinstance(module, torch.nn.Linear):
                key = part_of(f"{side}.{name}.weight")
                rows = tokens.get(key[1], length)
                if key[1] == CROSS and last in OF_ENCODER:
                    rows = passes * lengths[0]
                elif name.endswith(".self_attn.out_proj"):  # behind the slices
                    rows = passes * length
                counts[key] += 2 * rows * module.in_features * module.out_features
            elif last.endswith("_attn"):
                within = last == "self_attn"
                pairs = sum(count * size**2 for count, size in slices) if within else passes * length * lengths[0]
                counts[side, ATTENTION if within else CROSS] += 4 * pairs * module.out_proj.in_features
    return counts


def parameters(model):
    """The number of parameters by side and part."""
    counts = Counter()
    for name, parameter in model.named_parameters():
        counts[part_of(name)] += parameter.numel()
    return counts


def compare(models, lengths):
    """Rows (part, parameters, FLOP) of two models, numbers in pairs, for the parts that one has; last the total."""
    for model in models:
        check_lengths(model, lengths)
    counts = [[parameters(model) for model in models], [operations(model, lengths) for model in models]]
    keys = [(side, part) for side in SIDES for part in PARTS]
    rows = [(" ".join(key), *([count[key] for count in pair] for pair in counts)) for key in keys]
    return [*(row for row in rows if any(row[1] + row[2])), ("total", *([c.total() for c in pair] for pair in counts))]


def parse_model(text):
    """The Namespace that fairseq-train makes of the options of a transformer or sret_transformer."""
    words = checked(lambda: shlex.split(text))
    finder = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    finder.add_argument("--arch", "-a", default="")
    parser = checked(fairseq_options.get_training_parser)  # which looks at the command line for --user-dir
    finder.error = parser.error = refuse
    arch = finder.parse_known_args(words)[0].arch
    known = [name for name, model in ARCH_MODEL_NAME_REGISTRY.items() if model in ("sret_transformer", "transformer")]
    if arch not in known:
        refuse(f"--arch {arch or 'is missing and'} must be one of {', '.join(sorted(known))}.")
    args = checked(lambda: fairseq_options.parse_args_and_arch(parser, ["no-data", *words]))
    if found := [name for name in NOT_COUNTED if getattr(args, name, None)]:
        refuse(f"--{found[0].replace('_', '-')} changes what is computed in ways that are not counted; leave it out.")
    return args


def build(args, vocabulary):
    """The model of a Namespace, with ``vocabulary`` words on either side, fairseq's four special symbols included."""
    words = Dictionary()
    for index in range(vocabulary - len(words)):
        words.add_symbol(f"word{index}")
    task = argparse.Namespace(source_dictionary=words, target_dictionary=words)
    return checked(lambda: ARCH_MODEL_REGISTRY[args.arch].build_model(args, task))


def checked(call):
    """The result of a call of fairseq, which raises nearly anything for options that do not fit; then one sentence."""
    try:
        return call()
    except SystemExit:
        raise
    except Exception as error:
        refuse(f"the model cannot be built, {type(error).__name__}: {error}")


def unshared(args, model):
    """The options of fairseq's ``transformer`` with as many layers as a model of this project applies."""
    if not isinstance(model, SretTransformerModel):
        refuse(f"--arch {args.arch} is fairseq's own; say with --beside what to count beside it.")
    layers = {f"{side}_layers": math.prod(summary.blocks_and_passes(model, side)) for side in SIDES}
    return argparse.Namespace(**{**vars(args), "arch": "transformer", **layers})


def check_lengths(model, lengths):
    """Exit with one sentence if a sentence is longer than the model's positions or shorter than its slices."""
    for side, option, length in zip(SIDES, ("source", "target"), lengths):
        stack = getattr(model, side)
        slices = getattr(stack, "slices", [1])
        # Passes 1, 3, ... of the decoder have as many chunks as the sentence fills.
        most = max(slices if side == "encoder" else slices[1::2], default=1)
        if length > stack.max_positions():
            refuse(f"--{option}-length {length} is more than --max-{option}-positions, {stack.max_positions()}.")
        if length < most:
            refuse(f"--{option}-length {length} is shorter than the {most} slices of --{side}-slices.")


def ratio(pair):
    """Of the model to the one beside it, or nothing where that one has none."""
    return f"{pair[0] / pair[1]:.3f}" if pair[1] else ""


def table(rows):
    """The rows of ``compare`` as a table in Markdown."""
    cells = [["part", "parameters", "beside", "ratio", "MFLOP", "beside", "ratio"]]
    for part, sizes, costs in rows:
        millions = (f"{cost / 1e6:,.2f}" for cost in costs)
        cells.append([part, *(f"{size:,}" for size in sizes), ratio(sizes), *millions, ratio(costs)])
    return output.markdown(cells)


def draw(rows, labels, title):
    """A figure with a pair of bars for each part that computes anything."""
    parts, pairs = zip(*((part, costs) for part, _, costs in rows[:-1] if any(costs)))
    figure = output.new_figure(figsize=(8, 1 + 0.5 * len(parts)))
    axes = figure.subplots()
    for index, (label, costs) in enumerate(zip(labels, zip(*pairs))):
        places = [place + 0.4 * index - 0.2 for place in range(len(parts))]
        axes.barh(places, [cost / 1e6 for cost in costs], height=0.4, color=f"C{index}", label=label)
    axes.set(xlabel="MFLOP a sentence pair", title=title, yticks=range(len(parts)), yticklabels=parts)
    axes.invert_yaxis()
    axes.legend()
    return figure


def parse_args():
    """Parse the command line: this script's options, and the list of words that are left for the model."""
    usage = "%(prog)s --arch ARCH [option of fairseq-train ...] --source-length N --target-length M [option ...]"
    parser = argparse.ArgumentParser(usage=usage, description=__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.error = refuse
    add = parser.add_argument
    add("--source-length", type=int, required=True, help="tokens that the encoder reads, end of sentence included")
    add("--target-length", type=int, required=True, help="tokens that the decoder reads, end of sentence included")
    add("--vocabulary", type=int, default=10_000, help="words of each language, 4 special included (default: 10000)")
    add("--beside", metavar="OPTIONS", help="another model, in quotes (default: fairseq's of the same virtual depth)")
    add("--csv", type=Path, metavar="FILE", help="write the numbers as CSV")
    add("--png", type=Path, metavar="FILE", help="draw the operations as bars by part")
    command, words = parser.parse_known_args()
    for option in ("csv", "png"):
        if (path := getattr(command, option)) and not path.name:
            refuse(f"--{option} names no file; give the name of one.")
    if command.csv and command.csv == command.png:
        refuse(f"--csv and --png are both {command.csv}; give two files.")
    for option, least in (("source-length", 1), ("target-length", 1), ("vocabulary", 5)):
        if (value := getattr(command, option.replace("-", "_"))) < least:
            refuse(f"--{option} {value} must be at least {least}.")
    return command, words


def main() -> None:
    """Run the command line."""
    logging.disable(logging.INFO)
    command, words = parse_args()
    args = parse_model(shlex.join(words))
    with torch.device("meta"):  # sizes without memory
        model = build(args, command.vocabulary)
        beside = unshared(args, model) if command.beside is None else parse_model(command.beside)
        models = [model, build(beside, command.vocabulary)]
    lengths = command.source_length, command.target_length
    rows = compare(models, lengths)
    title = f"{command.source_length} source, {command.target_length} target tokens, vocabulary {command.vocabulary:,}"
    print(f"model: {shlex.join(words)}\nbeside: {command.beside or 'transformer, same options and virtual depth'}")
    print(f"{title}; one forward pass; a multiplication with its addition is 2 FLOP.\n\n{table(rows)}")
    if command.csv:
        lines = [(part, *sizes, ratio(sizes), *costs, ratio(costs)) for part, sizes, costs in rows]
        output.write_csv(command.csv, HEADER, lines)
    if command.png:
        output.save_figure(draw(rows, (args.arch, f"beside: {beside.arch}"), title), command.png)


if __name__ == "__main__":
    command.run(main)
