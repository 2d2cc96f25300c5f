"""The named models of the recipes: one table for both, so that their experiments compare."""

# Per recipe: the size of fairseq's and of this project's architectures, and the NLL's width with which a recursive
# block, applied twice, costs 6/5 of fairseq's layer: 5 of them have as many parameters as 6 layers.
SIZES = {
    "iwslt14_de_en": ("iwslt_de_en", 0.5),
    "wmt14_en_de": ("wmt_en_de", 0.7),
}
NLL = "the recipe's"  # stands for the second number above

PRE_NORM = {"encoder-normalize-before": True, "decoder-normalize-before": True}
FIVE_BLOCKS = {"encoder-layers": 5, "decoder-layers": 5, "nll-ratio": NLL}

# name: (what it is, architecture before the size, options of the model)
MODELS = {
    "baseline": ("fairseq's transformer, 6+6 layers, post-norm as fairseq has it", "transformer", {}),
    "baseline-pre-norm": ("the same with pre-norm, as sret has it", "transformer", PRE_NORM),
    "sret": ("3+3 blocks x 2 passes: the baseline's virtual depth", "sret_transformer", {}),
    "sret-equal-parameters": ("5+5 blocks x 2 passes: the baseline's parameters", "sret_transformer", FIVE_BLOCKS),
    "sret-encoder-only": (
        "5 blocks x 3 passes in the encoder, 5 x 1 in the decoder: the baseline's parameters",
        "sret_transformer",
        {**FIVE_BLOCKS, "encoder-recursions": 3, "decoder-recursions": 1},
    ),
    "sret-no-lrc": ("sret without learnt residual coefficients", "sret_transformer", {"residual-coefficients": "none"}),
    "sret-no-slices": ("sret with full self-attention", "sret_transformer", {"encoder-slices": 1}),
    "sret-no-nll": ("sret without non-linear projections", "sret_transformer", {"nll-ratio": 0}),
    "sret-naive": (
        "sret without all three: the recursion alone",
        "sret_transformer",
        {"residual-coefficients": "none", "encoder-slices": 1, "nll-ratio": 0},
    ),
}


def model_words(name, recipe):
    """The words for ``fairseq-train`` that make the model ``name`` of a recipe, a key of SIZES.

    Raises:
        SystemExit: no such model, in one sentence.
    """
    if name not in MODELS:
        raise SystemExit(f"train: unknown model '{name}'; choose one of {', '.join(MODELS)}.")
    size, nll_ratio = SIZES[recipe]
    _, architecture, options = MODELS[name]
    words = ["--arch", f"{architecture}_{size}"]
    for option, value in options.items():
        words.append(f"--{option}")
        if value is not True:
            words.append(str(nll_ratio if value is NLL else value))
    return words


def model_list(recipe):
    """The table as text, one model with its options a paragraph."""
    return "\n".join(f"  {name:22} {MODELS[name][0]}\n{'':25}{' '.join(model_words(name, recipe))}" for name in MODELS)
