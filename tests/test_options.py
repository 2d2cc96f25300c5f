"""What the options refuse, in which words, and how a command ends then."""

import argparse
import subprocess
import sys

import pytest
from fairseq import options as fairseq_options
from fairseq_cli import train as fairseq_train

from sret_fairseq.errors import OptionError
from sret_fairseq.options import slices_by_pass
from support.commands import refusal
from support.models import build_sret

REFUSED = [
    ({"encoder_layers": 5, "encoder_recursion_span": 2}, "--encoder-layers 5", "--encoder-recursion-span 2"),
    ({"decoder_layers": 4, "decoder_recursion_span": 3}, "--decoder-layers 4", "--decoder-recursion-span 3"),
    ({"encoder_layers": 0}, "--encoder-layers 0"),
    ({"encoder_recursions": 0}, "--encoder-recursions 0"),
    ({"decoder_recursions": -1}, "--decoder-recursions -1"),
    ({"decoder_recursions": 1.5}, "--decoder-recursions 1.5"),
    ({"encoder_recursions": "2"}, "--encoder-recursions 2 must be a whole number"),
    ({"encoder_recursions": [2]}, "--encoder-recursions [2] must be a whole number"),
    ({"encoder_recursion_span": 0}, "--encoder-recursion-span 0"),
    ({"recursion_reverse": "false"}, "recursion_reverse 'false' must be True or False"),
    ({"recursion_reverse": True}, "--recursion-reverse", "give one of them 2 or more"),
    ({"residual_coefficients_per_pass": "no"}, "residual_coefficients_per_pass 'no'"),
    ({"depth_scaled_residuals": 1}, "depth_scaled_residuals 1"),
    ({"decoder_normalize_before": "False"}, "decoder_normalize_before 'False'"),
    ({"encoder_slices": "0"}, "--encoder-slices 0"),
    ({"encoder_slices": "1025"}, "--encoder-slices 1025 must be whole numbers from 1 to 1024"),
    ({"encoder_slices": "2,"}, "--encoder-slices 2,"),
    ({"encoder_slices": "two"}, "--encoder-slices two"),
    ({"encoder_slices": "2,2,2"}, "--encoder-slices 2,2,2", "--encoder-recursions is 2"),
    ({"decoder_slices": "0"}, "--decoder-slices 0"),
    ({"decoder_slices": "2,2,2"}, "--decoder-slices 2,2,2", "--decoder-recursions is 2"),
    ({"decoder_chunk_size": 0}, "--decoder-chunk-size 0"),
    ({"decoder_recursions": 3, "decoder_trained_recursions": 2}, "--decoder-recursions 3", "allow_untrained_passes"),
    (
        {"decoder_recursions": 3, "decoder_trained_recursions": 2, "allow_untrained_passes": "no"},
        "--decoder-recursions 3",
    ),
    ({"nll_ratio": -1.0}, "--nll-ratio -1"),
    ({"nll_ratio": float("nan")}, "--nll-ratio nan"),
    ({"nll_ratio": float("inf")}, "--nll-ratio inf"),
    ({"nll_ratio": 0.01}, "--nll-ratio 0.01", "--encoder-embed-dim 16"),
    ({"residual_coefficients": "all"}, "--residual-coefficients all", "both, residual, identity, none"),
    ({"residual_coefficient_size": "matrix"}, "--residual-coefficient-size matrix", "scalar, channel"),
    ({"slice_permutation": "shuffle"}, "--slice-permutation shuffle", "interleave, random, none"),
    ({"encoder_attention_heads": 3}, "--encoder-embed-dim 16", "--encoder-attention-heads 3"),
    ({"encoder_attention_heads": 0}, "--encoder-attention-heads 0"),
    ({"decoder_ffn_embed_dim": 0}, "--decoder-ffn-embed-dim 0"),
    ({"dropout": 1.5}, "--dropout 1.5 must be from 0 to 1"),
    ({"attention_dropout": float("nan")}, "--attention-dropout nan"),
    ({"activation_dropout": -1.0}, "--activation-dropout -1"),
    ({"relu_dropout": 2.0}, "--relu-dropout 2"),
    ({"adaptive_softmax_dropout": -0.1}, "--adaptive-softmax-dropout -0.1"),
    ({"quant_noise_scalar": 1.5}, "--quant-noise-scalar 1.5"),
    ({"encoder_layerdrop": 2.0}, "--encoder-layerdrop 2"),
    ({"max_source_positions": -5}, "--max-source-positions -5"),
    ({"encoder_layers_to_keep": [0]}, "--encoder-layers-to-keep [0]", "--model-overrides"),
    ({"decoder_layers_to_keep": "first"}, "--decoder-layers-to-keep first"),
    ({"decoder_output_dim": 8, "share_decoder_input_output_embed": True}, "--decoder-output-dim 8", "leave it out"),
    ({"decoder_output_dim": "8", "share_decoder_input_output_embed": True}, "--decoder-output-dim 8", "leave it out"),
    ({"share_all_embeddings": True}, "--share-all-embeddings requires a joined dictionary"),
    ({"quant_noise_pq": 0.1}, "--quant-noise-pq", "--quant-noise-scalar"),
    ({"cross_self_attention": True}, "--cross-self-attention"),
    ({"base_layers": 1}, "--base-layers"),
    ({"adaptive_softmax_cutoff": "8,20", "tie_adaptive_weights": True}, "--tie-adaptive-weights"),
    ({"encoder_xformers_att_config": "{'name': 'linformer'}"}, "--encoder-xformers-att-config"),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: " ".join(case[1:2]))
def test_bad_options_are_refused_by_name(case):
    """One sentence that names the option; a program can catch it as a ValueError."""
    overrides, *words = case
    with pytest.raises(ValueError) as refusal:
        build_sret(**overrides)
    sentence = str(refusal.value)
    assert isinstance(refusal.value, OptionError)
    assert sentence.startswith("sret_transformer: ") and "\n" not in sentence
    for word in words:
        assert word in sentence


@pytest.mark.parametrize(
    "text, trained, passes, expected",
    [
        ("1", 3, 3, [1, 1, 1]),
        ("4,2", 2, 2, [4, 2]),
        ("4, 2", 4, 4, [4, 2, 2, 2]),
        (8, 1, 1, [8]),
        ("4,2", 2, 1, [4]),
        ("4,2", 2, 3, [4, 2, 2]),
    ],
)
def test_slices_of_each_pass(text, trained, passes, expected):
    """One number per pass, the last one repeats; a checkpoint that runs fewer passes takes the first numbers."""
    args = argparse.Namespace(encoder_slices=text, encoder_recursions=passes, encoder_trained_recursions=trained)
    assert slices_by_pass(args, "encoder") == expected


def train_parser_args(*words):
    """What fairseq-train makes of a command line."""
    parser = fairseq_options.get_training_parser()
    return fairseq_options.parse_args_and_arch(parser, ["data", "--user-dir", "sret_fairseq", *words])


def test_every_option_reaches_the_model():
    """Each flag sets what it says, beside fairseq's own flags."""
    args = train_parser_args(
        *"--arch sret_transformer --encoder-layers 4 --encoder-recursions 3 --decoder-recursions 2".split(),
        *"--encoder-recursion-span 2 --decoder-recursion-span 3 --recursion-reverse --nll-ratio 0.5".split(),
        *"--residual-coefficients identity --residual-coefficients-per-pass".split(),
        *"--residual-coefficient-size channel --depth-scaled-residuals".split(),
        *"--encoder-slices 4,2 --slice-permutation random".split(),
        *"--decoder-slices 1,3 --decoder-chunk-size 5".split(),
        *"--no-encoder-normalize-before --no-decoder-normalize-before --dropout 0.3".split(),
    )
    expected = {
        "encoder_layers": 4,
        "decoder_layers": 3,
        "encoder_recursions": 3,
        "decoder_recursions": 2,
        "encoder_recursion_span": 2,
        "decoder_recursion_span": 3,
        "recursion_reverse": True,
        "nll_ratio": 0.5,
        "residual_coefficients": "identity",
        "residual_coefficients_per_pass": True,
        "residual_coefficient_size": "channel",
        "depth_scaled_residuals": True,
        "encoder_slices": "4,2",
        "slice_permutation": "random",
        "decoder_slices": "1,3",
        "decoder_chunk_size": 5,
        "encoder_normalize_before": False,
        "decoder_normalize_before": False,
        "dropout": 0.3,
    }
    assert {name: getattr(args, name) for name in expected} == expected


@pytest.mark.parametrize("passes, slices", [(1, "1"), (2, "2"), (4, "4"), (5, "4"), (168, "4")])
def test_default_slices_follow_the_passes_up_to_four(passes, slices):
    """Slices as many as passes would leave a token alone with itself in a long loop."""
    args = train_parser_args("--arch", "sret_transformer", "--encoder-recursions", str(passes))
    assert (args.encoder_slices, args.decoder_slices) == (slices, "1")


@pytest.mark.parametrize("arch", ["sret_transformer", "sret_transformer_tiny", "transformer"])
def test_bf16_asks_for_no_tpu(arch):
    """fairseq's command line takes --bf16 for a TPU's; with the plugin it holds for the device that is there."""
    args = train_parser_args("--arch", arch, "--bf16")
    assert args.bf16 and not args.tpu


def test_every_option_has_help():
    """No flag of this project goes without a word, and each is documented under its own name."""
    from sret_fairseq.options import add_args

    parser = argparse.ArgumentParser()
    add_args(parser)
    for action in parser._actions:
        assert action.help and len(action.help) > 20, action.option_strings


@pytest.mark.parametrize(
    "flags, words",
    [
        ("--encoder-layers 5 --encoder-recursion-span 2".split(), ["--encoder-layers 5", "--encoder-recursion-span 2"]),
        (["--encoder-slices", "0"], ["--encoder-slices 0"]),
        (["--nll-ratio", "-1"], ["--nll-ratio -1"]),
        (["--residual-coefficients", "some"], ["--residual-coefficients", "some"]),
        (["--encoder-recursions", "two"], ["--encoder-recursions", "two"]),
        (["--encoder-recursion", "2", "--no-such-flag"], ["--no-such-flag"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_a_command_ends_with_one_sentence(flags, words, tmp_path):
    """fairseq-train stops before it reads any data, and its last line names the option."""
    plugin = ("--user-dir", "sret_fairseq", "--arch", "sret_transformer")
    last_line = refusal(fairseq_train.cli_main, tmp_path, *plugin, *flags).strip().splitlines()[-1]
    for word in words:
        assert word in last_line


def test_a_process_ends_with_one_sentence(tmp_path):
    """The same from outside: a status that is not 0, and no traceback."""
    command = [sys.executable, "-m", "fairseq_cli.train", str(tmp_path), "--user-dir", "sret_fairseq"]
    command += ["--arch", "sret_transformer", "--nll-ratio", "-1"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 1 and "Traceback" not in run.stderr
    assert "--nll-ratio -1" in run.stderr.strip().splitlines()[-1]
