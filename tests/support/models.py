"""Small models, dictionaries and batches for the tests.

Every role has a size of its own (widths, heads, vocabularies, lengths), so that a mix-up of two roles crashes.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path
from typing import Dict, List

import pytest
import torch
from fairseq.data import Dictionary
from fairseq.models.transformer import TransformerModel
from fairseq.sequence_generator import SequenceGenerator

from sret_fairseq import encoder
from sret_fairseq.model import SretTransformerModel

# Short sentences are masked, longer ones gathered: the sentences of tests are on both sides of this length. Set here,
# since child processes import this file and no conftest.py.
encoder.GATHER_FROM = 8

# fairseq 0.12.2 has more parameters and fewer options than the later one, and Hydra 1.0 knows no hydra.job.chdir.
not_on_python_3_10 = pytest.mark.skipif(
    sys.version_info < (3, 11), reason="fairseq 0.12.2 and Hydra 1.0 have not what is tested"
)

REPOSITORY = Path(__file__).resolve().parents[2]
PAD, EOS = 1, 2
SOURCE_WORDS, TARGET_WORDS = 27, 33

SIZES = {
    "encoder_embed_dim": 16,
    "encoder_ffn_embed_dim": 20,
    "encoder_attention_heads": 4,
    "encoder_layers": 2,
    "decoder_embed_dim": 24,
    "decoder_ffn_embed_dim": 28,
    "decoder_attention_heads": 2,
    "decoder_layers": 4,
    "dropout": 0.1,
    "max_source_positions": 700,
    "max_target_positions": 310,
}

# The table of option combinations over which the invariants are tested.
COMBINATIONS: Dict[str, dict] = {
    "defaults": {},
    "plain": {
        "encoder_recursions": 1,
        "decoder_recursions": 1,
        "nll_ratio": 0.0,
        "residual_coefficients": "none",
        "encoder_slices": "1",
    },
    "post-norm": {"encoder_normalize_before": False, "decoder_normalize_before": False},
    "mixed-norm": {"encoder_normalize_before": False, "nll_ratio": 0.5},
    "three-passes": {"encoder_recursions": 3, "decoder_recursions": 3, "encoder_slices": "3,2,1"},
    "uneven-passes": {"encoder_recursions": 3, "decoder_recursions": 1, "encoder_slices": "4"},
    "cycle": {"encoder_recursion_span": 2, "decoder_recursion_span": 4},
    "cycle-reverse": {
        "encoder_recursion_span": 2,
        "decoder_recursion_span": 2,
        "encoder_recursions": 3,
        "recursion_reverse": True,
    },
    "per-pass-channel": {"residual_coefficients_per_pass": True, "residual_coefficient_size": "channel"},
    "depth-scaled": {"depth_scaled_residuals": True, "encoder_recursions": 3},
    "residual-only": {"residual_coefficients": "residual", "residual_coefficients_per_pass": True},
    "identity-only": {"residual_coefficients": "identity", "nll_ratio": 0.0},
    "random-slices": {"slice_permutation": "random", "encoder_slices": "2,3"},
    "unpermuted-slices": {"slice_permutation": "none", "encoder_slices": "5"},
    "many-slices": {"encoder_slices": "16"},
    "decoder-slices": {"decoder_slices": "3", "decoder_chunk_size": 3},
    "decoder-strides": {"decoder_recursions": 4, "decoder_slices": "1,2,2,3", "decoder_chunk_size": 4},
    "shared-embeddings": {"share_decoder_input_output_embed": True, "layernorm_embedding": True},
    "no-cross-attention": {"no_cross_attention": True},
}


def dictionary(words: int) -> Dictionary:
    """A dictionary of so many words behind fairseq's four special symbols."""
    result = Dictionary()
    for index in range(words):
        result.add_symbol(f"word{index}")
    return result


class Task:
    """As much of a translation task as building and generating need."""

    def __init__(self):
        self.source_dictionary = dictionary(SOURCE_WORDS)
        self.target_dictionary = dictionary(TARGET_WORDS)


def build(model_class, seed: int = 0, **overrides):
    """A model in evaluation mode whose every parameter is random, coefficients and biases included."""
    torch.manual_seed(seed)
    sizes = dict(SIZES, **overrides)
    model = model_class.build_model(argparse.Namespace(**sizes), Task())
    for name, parameter in model.named_parameters():
        if ".coefficients." in name or name.endswith(".bias"):
            torch.nn.init.uniform_(parameter, -0.3, 0.3)
        elif parameter.dim() == 1:
            torch.nn.init.uniform_(parameter, 0.7, 1.3)
    return model.eval()


def build_sret(seed: int = 0, **overrides) -> SretTransformerModel:
    """A small sret_transformer."""
    return build(SretTransformerModel, seed, **overrides)


def build_fairseq(seed: int = 0, **overrides) -> TransformerModel:
    """fairseq's transformer of the same sizes."""
    return build(TransformerModel, seed, **overrides)


def is_unused_copy(name: str) -> bool:
    """Whether a parameter of fairseq 0.12.2's transformer is a copy of an encoder weight, which no training uses."""
    return re.search(r"(_proj|fc[12])_(weight|bias)$", name) is not None


def sentence(length: int, words: int, seed: int) -> torch.Tensor:
    """Random words and the end of the sentence: (length,)."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(4, 4 + words, (length,), generator=generator)
    tokens[-1] = EOS
    return tokens


def source(length: int, seed: int = 0) -> torch.Tensor:
    """A source sentence, (length,)."""
    return sentence(length, SOURCE_WORDS, seed)


def target(length: int, seed: int = 0) -> torch.Tensor:
    """Previous output tokens as the decoder reads them, end-of-sentence first, (length,)."""
    return sentence(length, TARGET_WORDS, seed + 1000).roll(1)


def pad(sentences: List[torch.Tensor], left: bool = False, length: int = 0) -> torch.Tensor:
    """A batch of sentences, (B, T), padded on one side to the longest of them or to ``length``."""
    length = max(length, max(len(tokens) for tokens in sentences))
    batch = torch.full((len(sentences), length), PAD)
    for row, tokens in zip(batch, sentences):
        start = length - len(tokens) if left else 0
        row[start : start + len(tokens)] = tokens
    return batch


def lengths(batch: torch.Tensor) -> torch.Tensor:
    """The lengths of a padded batch's sentences, (B,)."""
    return batch.ne(PAD).sum(dim=1)


def logits(model, sources: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The model's output, (B, T, V)."""
    return model(sources, lengths(sources), targets)[0]


def copy_fairseq_weights(model: SretTransformerModel, reference: TransformerModel) -> None:
    """Give a sret_transformer with one pass, spans of 1 and no NLL the weights of fairseq's transformer."""
    theirs = reference.state_dict()
    ours = {}
    for name in model.state_dict():
        parts = name.split(".")
        if ".blocks.0." not in name:
            ours[name] = theirs[name]
            continue
        prefix, rest = ".".join(parts[:3]), ".".join(parts[5:])
        attention = {"self_attn": "self_attn", "cross_attn": "encoder_attn"}
        norms = {
            "self_attn_residual": "self_attn_layer_norm",
            "cross_attn_residual": "encoder_attn_layer_norm",
            "ffn_residual": "final_layer_norm",
        }
        owner, tail = parts[5], parts[-1]
        if owner in norms and ".layer_norm." in name:
            ours[name] = theirs[f"{prefix}.{norms[owner]}.{tail}"]
        elif owner == "ffn":
            ours[name] = theirs[f"{prefix}.{rest.removeprefix('ffn.')}"]
        elif owner in attention and "qkv_proj" in name:
            ours[name] = torch.cat([theirs[f"{prefix}.{attention[owner]}.{part}_proj.{tail}"] for part in "qkv"])
        elif owner in attention and "kv_proj" in name:
            ours[name] = torch.cat([theirs[f"{prefix}.{attention[owner]}.{part}_proj.{tail}"] for part in "kv"])
        elif owner in attention:
            ours[name] = theirs[f"{prefix}.{attention[owner]}.{parts[6]}.{tail}"]
        else:
            ours[name] = model.state_dict()[name]
    model.load_state_dict(ours)


def generate(model, sources: torch.Tensor, beam: int = 3, **options):
    """Beam search in fairseq: for each sentence the list of hypotheses."""
    task = Task()
    generator = SequenceGenerator([model], task.target_dictionary, beam_size=beam, max_len_b=12, **options)
    return generator.generate([model], {"net_input": {"src_tokens": sources, "src_lengths": lengths(sources)}})


def python(*words, stdin: str = "", folder: Path = REPOSITORY) -> str:
    """Run Python on these arguments in a folder, where it has to succeed; its standard output and error together."""
    command = [sys.executable, *map(str, words)]
    run = subprocess.run(command, capture_output=True, text=True, input=stdin, cwd=folder)
    assert run.returncode == 0, run.stderr
    return run.stdout + run.stderr
