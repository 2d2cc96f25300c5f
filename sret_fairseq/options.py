"""The options of ``sret_transformer``: their text, their defaults, and what they refuse.

``validate`` runs wherever options enter: behind the command line (the architecture functions of model.py) and before a
model is built (Hydra, ``--model-overrides``, ``from_pretrained``), so each rule stands here once.
"""

import argparse
from typing import Any, List, Set

from fairseq.utils import safe_getattr

from sret_fairseq.errors import counted, is_number, require, require_choice, require_count, require_switch

SIDES = ("encoder", "decoder")
PERMUTATIONS = ("interleave", "random", "none")
COEFFICIENTS = ("both", "residual", "identity", "none")
COEFFICIENT_SIZES = ("scalar", "channel")
# By default. After two passes G * G tokens are seen whole, see layers/encoder_slices.py: 16 is a short sentence.
MOST_SLICES = 4
PROBABILITIES = (
    *("dropout", "attention_dropout", "activation_dropout", "relu_dropout", "adaptive_softmax_dropout"),
    *("encoder_layerdrop", "decoder_layerdrop", "quant_noise_scalar"),
)
SLICES_DEFAULT = f"(default: the number of passes, at most {MOST_SLICES})"


def add_args(parser: argparse.ArgumentParser) -> None:
    """Add this project's options to fairseq's parser. The defaults are in ``set_defaults``, as fairseq wants it."""
    # fmt: off
    for side in SIDES:
        parser.add_argument(f"--{side}-recursions", type=int, metavar="R",
                            help=f"passes through each {side} block, with the same weights; at least 1 (default: 2)")
        parser.add_argument(f"--{side}-recursion-span", type=int, metavar="K",
                            help=f"how many {side} blocks are looped together: 1 repeats each block at once, "
                                 f"--{side}-layers loops the whole stack; a divisor of it (default: 1)")
        parser.add_argument(f"--no-{side}-normalize-before", dest=f"{side}_normalize_before", action="store_false",
                            default=argparse.SUPPRESS,
                            help=f"post-norm {side} blocks (default: pre-norm)")
    parser.add_argument("--recursion-reverse", action="store_true",
                        help="run every second loop of a recursion group backwards; for spans of 2 or more")
    parser.add_argument("--nll-ratio", type=float, metavar="r",
                        help="hidden width of the non-linear projection after each pass, in multiples of the width; "
                             "0 leaves the projections out (default: 0.5)")
    parser.add_argument("--residual-coefficients", choices=COEFFICIENTS,
                        help="which coefficients of c1*x + c2*f(x) are learnt: both, that of the residual branch f, "
                             "that of the identity x, or none (default: both)")
    parser.add_argument("--residual-coefficients-per-pass", action="store_true",
                        help="each pass has coefficients of its own, instead of sharing those of its block")
    parser.add_argument("--residual-coefficient-size", choices=COEFFICIENT_SIZES,
                        help="one coefficient a residual branch, or one a channel (default: scalar)")
    parser.add_argument("--depth-scaled-residuals", action=argparse.BooleanOptionalAction,
                        help="for deep loops: every residual branch adds 1 / passes of what it computes, so that the "
                             "passes of a block together change the stream as much as one would alone")
    parser.add_argument("--encoder-slices", metavar="G[,G2,...]",
                        help="slices of the encoder's self-attention in each pass, the last number repeats; 1 is full "
                             f"attention {SLICES_DEFAULT}")
    parser.add_argument("--slice-permutation", choices=PERMUTATIONS,
                        help="how every second application of a block along the depth of the encoder permutes the "
                             "tokens before they are sliced; random draws in training only, and interleaves at "
                             "inference (default: interleave)")
    parser.add_argument("--decoder-slices", metavar="G[,G2,...]",
                        help="slices of the decoder's self-attention in each pass, the last number repeats; 1 sees all "
                             "earlier tokens. Applications 1, 3, ... of a block along the depth see chunks of "
                             "--decoder-chunk-size tokens, 2, 4, ... one of G strides. Of two in turn a token sees all "
                             "of its chunk so far, and of each earlier chunk all but the last G - 1 tokens at most, if "
                             "a chunk has G tokens or more (default: 1)")
    parser.add_argument("--decoder-chunk-size", type=int, metavar="S",
                        help="tokens of a chunk of --decoder-slices (default: 16)")
    # fmt: on


def names() -> Set[str]:
    """The names of this project's options, of those too that only a checkpoint has."""
    parser = argparse.ArgumentParser(add_help=False)
    add_args(parser)
    of_checkpoints = {f"{side}_{name}" for side in SIDES for name in ("trained_recursions", "slices_along_passes")}
    return {action.dest for action in parser._actions} | of_checkpoints | {"allow_untrained_passes"}


def set_defaults(args: Any) -> None:
    """Fill in what was not given."""
    for side in SIDES:
        default(args, f"{side}_recursions", 2)
        default(args, f"{side}_recursion_span", 1)
        default(args, f"{side}_normalize_before", True)
    default(args, "recursion_reverse", False)
    default(args, "nll_ratio", 0.5)
    default(args, "residual_coefficients", "both")
    default(args, "residual_coefficients_per_pass", False)
    default(args, "residual_coefficient_size", "scalar")
    default(args, "depth_scaled_residuals", False)
    require_count(args, "encoder_recursions")
    default(args, "encoder_slices", str(min(args.encoder_recursions, MOST_SLICES)))
    default(args, "slice_permutation", "interleave")
    default(args, "decoder_slices", "1")
    default(args, "decoder_chunk_size", 16)
    for side in SIDES:
        # A checkpoint without the next word is of the time when slices alternated along passes: it keeps to that where
        # it was trained so, which is where it differs.
        trained = safe_getattr(args, f"{side}_trained_recursions", None)
        differs = type(trained) is int and (trained % 2 == 1 or getattr(args, f"{side}_recursion_span") != 1)
        default(args, f"{side}_slices_along_passes", differs)
        # Only a checkpoint brings another number: --model-overrides may then ask for fewer passes or for more.
        default(args, f"{side}_trained_recursions", getattr(args, f"{side}_recursions"))
    # In a checkpoint of fairseq-hydra-train fairseq overrides only what is there.
    default(args, "allow_untrained_passes", False)


def default(args: Any, name: str, value: Any) -> None:
    """Give an option a value unless it has one."""
    if safe_getattr(args, name, None) is None:
        setattr(args, name, value)


def validate(args: Any) -> None:
    """Check every option of the model.

    Raises:
        OptionError: names the first option that is wrong, and what is right.
    """
    for side in SIDES:
        validate_side(args, side)
    for name in ("recursion_reverse", "residual_coefficients_per_pass", "depth_scaled_residuals"):
        require_switch(args, name)
    require(
        not args.recursion_reverse or max(args.encoder_recursion_span, args.decoder_recursion_span) > 1,
        "--recursion-reverse turns loops of several blocks around, but --encoder-recursion-span and "
        "--decoder-recursion-span are 1; give one of them 2 or more.",
    )
    require(is_number(args.nll_ratio) and args.nll_ratio >= 0, f"--nll-ratio {args.nll_ratio} must be 0 or more.")
    for side in SIDES:
        width = getattr(args, f"{side}_embed_dim")
        require(
            args.nll_ratio == 0 or int(args.nll_ratio * width) >= 1,
            f"--nll-ratio {args.nll_ratio} of --{side}-embed-dim {width} leaves no hidden unit; 0 means no projection.",
        )
    require_choice(args, "residual_coefficients", COEFFICIENTS)
    require_choice(args, "residual_coefficient_size", COEFFICIENT_SIZES)
    require_choice(args, "slice_permutation", PERMUTATIONS)
    for side in SIDES:
        slices_by_pass(args, side)
    require_count(args, "decoder_chunk_size")
    validate_inherited(args)
    refuse_unsupported(args)


def validate_side(args: Any, side: str) -> None:
    """Check the sizes of the encoder or the decoder."""
    for name in ("layers", "embed_dim", "ffn_embed_dim", "attention_heads", "recursions", "recursion_span"):
        require_count(args, f"{side}_{name}")
    require_switch(args, f"{side}_normalize_before")
    require_switch(args, f"{side}_slices_along_passes")
    layers, span = getattr(args, f"{side}_layers"), getattr(args, f"{side}_recursion_span")
    # With layers to keep, --layers tells how many groups are kept: fairseq overwrites it so.
    require(
        bool(safe_getattr(args, f"{side}_layers_to_keep", None)) or layers % span == 0,
        f"--{side}-layers {layers} cannot be divided into groups of --{side}-recursion-span {span}; "
        f"choose a span that divides it.",
    )
    width, heads = getattr(args, f"{side}_embed_dim"), getattr(args, f"{side}_attention_heads")
    require(
        width % heads == 0,
        f"--{side}-embed-dim {width} cannot be divided among --{side}-attention-heads {heads}.",
    )
    passes, trained = getattr(args, f"{side}_recursions"), getattr(args, f"{side}_trained_recursions")
    require(
        passes <= trained or args.allow_untrained_passes is True,
        f"--{side}-recursions {passes} is more than the training's {counted(trained, 'pass')}; to repeat the last one "
        f"anyway add 'allow_untrained_passes': True to --model-overrides.",
    )


def validate_inherited(args: Any) -> None:
    """Check the numbers that fairseq's transformer takes and then trains wrongly with, or ends in a traceback."""
    for name in PROBABILITIES:
        value = safe_getattr(args, name, None)
        require(
            value is None or (is_number(value) and 0 <= value <= 1),
            f"--{name.replace('_', '-')} {value} must be from 0 to 1.",
        )
    for name in ("max_source_positions", "max_target_positions"):
        if safe_getattr(args, name, None) is not None:
            require_count(args, name)
    for side in SIDES:
        kept = safe_getattr(args, f"{side}_layers_to_keep", None)
        require(
            kept is None or (isinstance(kept, str) and all(part.isdecimal() for part in kept.split(","))),
            f"--{side}-layers-to-keep {kept}: fairseq takes it in --model-overrides alone, as text: "
            f"\"{{'{side}_layers_to_keep': '0,1'}}\".",
        )
    validate_output_width(args)


def validate_output_width(args: Any) -> None:
    """Check that an embedding which is also the projection onto the vocabulary has its width."""
    width, shared = args.decoder_embed_dim, ("share_all_embeddings", "share_decoder_input_output_embed")
    is_projection = safe_getattr(args, "adaptive_softmax_cutoff", None) is None
    output = safe_getattr(args, "decoder_output_dim", None) or width  # text, where fairseq parsed it
    require(
        str(output) == str(width) or not is_projection or not any(safe_getattr(args, name, False) for name in shared),
        f"--decoder-output-dim {output} differs from --decoder-embed-dim {width}, but the embedding is shared; leave "
        f"it out.",
    )


def refuse_unsupported(args: Any) -> None:
    """Refuse the options of fairseq's transformer that shared or sliced layers cannot honour."""
    require(
        not safe_getattr(args, "quant_noise_pq", 0),
        "--quant-noise-pq rewrites a weight each time that it is used, so the passes of a shared block would compound "
        "the noise; use --quant-noise-scalar.",
    )
    require(
        not safe_getattr(args, "cross_self_attention", False),
        "--cross-self-attention is not implemented for recursive decoder blocks; leave it out.",
    )
    require(
        not safe_getattr(args, "base_layers", 0),
        "--base-layers are not implemented between recursion groups; leave them out.",
    )
    require(
        not (safe_getattr(args, "adaptive_softmax_cutoff", None) and safe_getattr(args, "tie_adaptive_weights", False)),
        "--tie-adaptive-weights needs an adaptive input, which translation models have not; leave it out.",
    )
    for side in SIDES:
        require(
            not safe_getattr(args, f"{side}_xformers_att_config", None),
            f"--{side}-xformers-att-config is not implemented for recursive blocks; leave it out.",
        )


def slices_by_pass(args: Any, side: str) -> List[int]:
    """The slices in each pass of the encoder or the decoder, from ``G[,G2,...]``; the last number repeats.

    Raises:
        OptionError: not a list of whole numbers from 1 to 1024, or longer than there are passes.
    """
    text = getattr(args, f"{side}_slices")
    passes, trained = getattr(args, f"{side}_recursions"), getattr(args, f"{side}_trained_recursions")
    parts = [part.strip() for part in str(text).split(",")]
    require(
        all(part.isascii() and part.isdigit() and 1 <= int(part) <= 1024 for part in parts),
        f"--{side}-slices {text} must be whole numbers from 1 to 1024, separated by commas, such as 4 or 4,2.",
    )
    require(
        len(parts) <= max(passes, trained),
        f"--{side}-slices {text} names {counted(len(parts), 'pass')}, but --{side}-recursions is {passes}.",
    )
    numbers = [int(part) for part in parts]
    return (numbers + [numbers[-1]] * passes)[:passes]


def group_count(cfg: Any, side: str) -> int:
    """How many recursion groups, fairseq's layers, one side has.

    Args:
        cfg: the TransformerConfig.
        side: ``encoder`` or ``decoder``.
    """
    part = getattr(cfg, side)
    if part.layers_to_keep:
        return len(part.layers_to_keep.split(","))
    return part.layers // getattr(cfg, f"{side}_recursion_span")
