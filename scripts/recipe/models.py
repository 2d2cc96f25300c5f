"""The named models of the recipes: one table for all, so that their experiments compare."""

from typing import Any, NamedTuple

Options = dict[str, Any]


def both(**options: Any) -> Options:
    """Options of encoder and decoder alike, such as ``layers``, by their names on the command line."""
    return {
        f"{side}-{name.replace('_', '-')}": value for name, value in options.items() for side in ("encoder", "decoder")
    }


class Recipe(NamedTuple):
    """What the models of one recipe are made of.

    Attributes:
        suffix: of the architectures' names.
        depth: layers of the baseline a side.
        baseline: its options.
        small_baseline: those of fairseq's model with the parameters of ``sret``.
        sret: those of the recursive model as deep as the baseline.
        equal_parameters: those of a recursive model as large as the baseline. A block costs more than a layer of
            fairseq's for its NLL, whose width is chosen for that.
        encoder_only: the same, with the recursion in the encoder only.
    """

    suffix: str
    depth: int
    baseline: Options
    small_baseline: Options
    sret: Options
    equal_parameters: Options
    encoder_only: Options


BLOCKS, DEPTH = "half the recipe's depth", "the recipe's depth"  # stand for numbers of a recipe


def layers(encoder: int, decoder: int) -> Options:
    """Options of a model with these numbers of layers."""
    return {"encoder-layers": encoder, "decoder-layers": decoder}


def large(suffix: str, small_baseline: Options, nll_ratio: float) -> Recipe:
    """A recipe with 6+6 layers, of whose sret the NLL is as wide as in most of the paper's models.

    With an NLL of this ratio 5 blocks applied twice have as many parameters as 6 layers.
    """
    five = {**both(layers=5), "nll-ratio": nll_ratio}
    return Recipe(
        suffix,
        6,
        {},
        small_baseline,
        {"nll-ratio": 1},
        five,
        {**five, "encoder-recursions": 3, "decoder-recursions": 1},
    )


RECIPES = {
    "iwslt14_de_en": large("_iwslt_de_en", layers(6, 3), 0.5),
    "wmt14_en_de": large("_wmt_en_de", layers(5, 3), 0.7),
    # Width 128, by its train.yaml.
    "small_corpora": Recipe(
        suffix="",
        depth=4,
        baseline=both(layers=4),
        small_baseline=layers(3, 2),
        sret=both(layers=2),
        equal_parameters={**both(layers=3, recursions=3), "nll-ratio": 0.55},
        encoder_only={**layers(4, 3), "decoder-recursions": 1},
    ),
}

PRE_NORM = {"encoder-normalize-before": True, "decoder-normalize-before": True}
POST_NORM = {"no-encoder-normalize-before": True, "no-decoder-normalize-before": True}

# name: (what it is, whose options of the recipe it takes, options of its own)
MODELS = {
    "baseline": ("fairseq's transformer, post-norm as fairseq has it", "baseline", {}),
    "baseline-pre-norm": ("the same with pre-norm, as sret has it", "baseline", PRE_NORM),
    "baseline-small": ("fairseq's transformer, post-norm, with sret's parameters", "small_baseline", {}),
    "baseline-small-pre-norm": ("the same with pre-norm", "small_baseline", PRE_NORM),
    "sret": ("half the baseline's blocks x 2 passes: its virtual depth", "sret", {}),
    "sret-equal-parameters": ("the baseline's parameters, deeper", "equal_parameters", {}),
    "sret-encoder-only": ("the baseline's parameters, the recursion in the encoder only", "encoder_only", {}),
    "sret-no-lrc": ("sret without learnt residual coefficients", "sret", {"residual-coefficients": "none"}),
    "sret-no-slices": ("sret with full self-attention", "sret", {"encoder-slices": 1}),
    "sret-no-nll": ("sret without non-linear projections", "sret", {"nll-ratio": 0}),
    "sret-naive": (
        "sret without all three: the recursion alone",
        "sret",
        {"residual-coefficients": "none", "encoder-slices": 1, "nll-ratio": 0},
    ),
    "sret-post-norm": ("sret with post-norm, as fairseq's transformer has it", "sret", POST_NORM),
    "sret-cycle": ("sret that loops the whole stack", "sret", both(recursion_span=BLOCKS)),
    "sret-cycle-reverse": (
        "the same, every second loop backwards",
        "sret",
        {**both(recursion_span=BLOCKS), "recursion-reverse": True},
    ),
    "sret-universal": (
        "1 block in as many passes as the baseline has layers",
        "sret",
        both(layers=1, recursions=DEPTH),
    ),
}


def model_args(name: str, recipe: str) -> list[str]:
    """The arguments of ``fairseq-train`` that make the model ``name`` of a recipe, a key of RECIPES.

    Raises:
        SystemExit: no such model, in one sentence.
    """
    if name not in MODELS:
        raise SystemExit(f"train: unknown model '{name}'; choose one of {', '.join(MODELS)}.")
    facts = RECIPES[recipe]
    _, kind, own = MODELS[name]
    options = {**getattr(facts, kind), **own}
    numbers = {BLOCKS: facts.depth // 2, DEPTH: facts.depth}
    args = ["--arch", f"{'transformer' if kind.endswith('baseline') else 'sret_transformer'}{facts.suffix}"]
    for option, value in options.items():
        args.append(f"--{option}")
        if value is not True:
            args.append(str(numbers.get(value, value)))
    return args


def model_list(recipe: str) -> str:
    """The table as text, one model with its options a paragraph."""
    return "\n".join(f"  {name:24} {MODELS[name][0]}\n{'':27}{' '.join(model_args(name, recipe))}" for name in MODELS)
