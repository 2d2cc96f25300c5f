"""fairseq-hydra-train with examples/hydra/sret_transformer.yaml."""

import argparse
import os
import re
import shlex
import subprocess
import sys

import pytest
import torch
import yaml
from fairseq import checkpoint_utils

from sret_fairseq import options
from sret_fairseq.summary import summary_lines
from support.models import REPOSITORY, not_on_python_3_10
from support.training import load

CHUNKED = "chunked_label_smoothed_cross_entropy"
EXAMPLE = REPOSITORY / "examples" / "hydra"
# Every option of this project, each at another value than the example's, on a tiny model.
MODEL = {
    "encoder_embed_dim": 16,
    "encoder_ffn_embed_dim": 20,
    "encoder_attention_heads": 4,
    "encoder_layers": 2,
    "decoder_embed_dim": 24,
    "decoder_ffn_embed_dim": 28,
    "decoder_attention_heads": 2,
    "decoder_layers": 3,
    "encoder_recursions": 3,
    "decoder_recursions": 1,
    "encoder_recursion_span": 2,
    "decoder_recursion_span": 3,
    "recursion_reverse": True,
    "nll_ratio": 0.5,
    "residual_coefficients": "residual",
    "residual_coefficients_per_pass": True,
    "residual_coefficient_size": "channel",
    "depth_scaled_residuals": True,
    "encoder_slices": "3,2",
    "slice_permutation": "random",
    "decoder_slices": 2,
    "decoder_chunk_size": 5,
    "encoder_normalize_before": False,
    "decoder_normalize_before": False,
    "share_all_embeddings": False,  # the sides differ in width
}


def hydra_train(data, folder, *overrides):
    """Run fairseq-hydra-train with the example, for three updates of a tiny model."""
    tiny = ["model.{}={}".format(name, f"'{value}'" if value == "3,2" else value) for name, value in MODEL.items()]
    run = [f"task.data={data}", f"checkpoint.save_dir={folder}", "common.cpu=true", "dataset.num_workers=0"]
    short = ["optimization.max_update=3", "dataset.max_tokens=120"]
    command = [sys.executable, "-m", "fairseq_cli.hydra_train", "--config-dir", EXAMPLE]
    command += ["--config-name", "sret_transformer", *run, *short, *tiny, *overrides]
    environment = dict(os.environ, OMP_NUM_THREADS="1")
    return subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, env=environment)


def test_the_example_names_every_option():
    """All options of this project stand in the example, at their defaults."""
    parser = argparse.ArgumentParser()
    options.add_args(parser)
    names = {action.dest for action in parser._actions} - {"help"}
    example = yaml.safe_load((EXAMPLE / "sret_transformer.yaml").read_text())["model"]
    assert names <= example.keys() and names <= MODEL.keys()
    defaults = argparse.Namespace()
    options.set_defaults(defaults)
    assert {name: example[name] for name in names} == {name: getattr(defaults, name) for name in names}


def plain(value):
    """A number where it is one: YAML's 0.0005 and the command line's 5e-4."""
    try:
        return float(value)
    except ValueError:
        return value


# Options by which a training is watched and its best checkpoint chosen, which the example leaves to the user.
WATCHING = ("--eval-bleu", "--best-checkpoint", "--maximize-best", "--log-", "--tensorboard")


def test_the_example_has_the_settings_of_the_readme():
    """Each setting of the main README's fairseq-train command, the saved epochs and shared embeddings included."""
    readme = (REPOSITORY / "README.md").read_text()
    command = re.search(r"^fairseq-train (.*?[^\\])$", readme, re.MULTILINE | re.DOTALL)[1]
    words = shlex.split(command.replace("\\\n", " "))
    assert words[0] == "data-bin" and words.count("--arch") == 1
    example = yaml.safe_load((EXAMPLE / "sret_transformer.yaml").read_text())
    settings = {name: value for group in example.values() for name, value in group.items()}
    settings |= {group: content.get("_name") for group, content in example.items()}
    settings |= {"arch": settings["model"], "lr": settings["lr"][0]}
    for index, word in enumerate(words):
        if word.startswith("--") and not word.startswith(WATCHING):
            value = settings[word.removeprefix("--").replace("-", "_")]
            if value is not True:
                assert plain(value) == plain(words[index + 1]), word


@not_on_python_3_10
@pytest.mark.slow
def test_trains_with_every_option_overridden(data, tmp_path):
    """Each override reaches the model that is trained, and the checkpoint, which can run more passes; so does bf16."""
    ended = hydra_train(data, tmp_path, "common.bf16=true")
    assert ended.returncode == 0, ended.stderr
    checkpoint = load(tmp_path)
    assert checkpoint["optimizer_history"][-1]["num_updates"] == 3
    built = checkpoint["cfg"]["model"]
    assert {name: built[name] for name in MODEL} == MODEL
    weights = checkpoint["model"]
    coefficients = weights["encoder.layers.0.blocks.1.ffn_residual.coefficients.residual"]
    assert coefficients.shape == (3, 16)  # one a pass and channel
    assert not any(name.endswith("coefficients.identity") for name in weights)
    assert weights["decoder.layers.0.projections.0.2.mlp.fc1.weight"].shape == (12, 24)
    assert all(weight.isfinite().all() for weight in weights.values() if isinstance(weight, torch.Tensor))

    more = {"encoder_recursions": 4, "allow_untrained_passes": True}
    (model,), _ = checkpoint_utils.load_model_ensemble([str(tmp_path / "checkpoint_last.pt")], more)
    assert "trained with 3 passes, the others repeat the last one" in "\n".join(summary_lines(model))


@not_on_python_3_10
@pytest.mark.slow
@pytest.mark.parametrize(
    "override, sentence",
    [
        ("model.nll_ratio=-1", "sret_transformer: --nll-ratio -1 must be 0 or more."),
        ("+model.encoder_recursion=1", "there is no option model.encoder_recursion; did you mean encoder_recursions?"),
        ("task.data=null", "data: none was named; give the folder of fairseq-preprocess. (With Hydra: task.data=DIR.)"),
        (f"criterion._name={CHUNKED} criterion.label_smoothing=1", "--label-smoothing 1.0 must be from 0 to below 1."),
    ],
)
def test_a_refusal_is_one_sentence(data, tmp_path, override, sentence):
    """Status 1 and the sentence at the end, without a traceback; one line of Hydra's may stand before it."""
    ended = hydra_train(data, tmp_path, *override.split())
    assert ended.returncode == 1
    assert ended.stderr.rstrip().endswith(sentence) and "Traceback" not in ended.stderr
    assert not list(tmp_path.glob("*.pt"))
