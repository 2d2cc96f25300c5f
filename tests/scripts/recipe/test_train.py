"""What the recipes' train.sh decides: settings, models, effective batch, launcher, and which folder holds which run."""

import argparse
import subprocess
import sys

import pytest
import torch

import sret_fairseq  # noqa: F401  (registers the model)
from recipe import models, plan, settings, train
from support.commands import refusal
from support.models import REPOSITORY, Task, is_unused_copy, not_on_python_3_10

RECIPES = ("iwslt14_de_en", "wmt14_en_de", "small_corpora")


# Parameters but for embeddings, by the models themselves at the sizes of the recipes.
PARAMETERS = {
    "baseline": (31_543_296, 44_138_496, 1_325_056),
    "baseline-pre-norm": (31_545_344, 44_140_544, 1_325_568),
    "baseline-small": (22_080_000, 28_374_016, 795_008),
    "baseline-small-pre-norm": (22_082_048, 28_376_064, 795_520),
    "sret": (22_089_782, 28_387_382, 797_732),
    "sret-equal-parameters": (31_566_938, 44_153_938, 1_325_102),
    "sret-encoder-only": (31_566_938, 44_153_938, 1_311_992),
    "sret-no-lrc": (22_089_728, 28_387_328, 797_696),
    "sret-no-slices": (22_089_782, 28_387_382, 797_732),
    "sret-no-nll": (15_773_726, 22_071_326, 663_060),
    "sret-naive": (15_773_696, 22_071_296, 663_040),
    "sret-post-norm": (22_087_734, 28_385_334, 797_220),
    "sret-cycle": (22_089_782, 28_387_382, 797_732),
    "sret-cycle-reverse": (22_089_782, 28_387_382, 797_732),
    "sret-universal": (11_575_330, 13_674_530, 466_458),
}


@pytest.fixture
def settings_of(tmp_path):
    """A function that reads a recipe's settings, for text that was prepared for it."""
    (tmp_path / "prepare.json").write_text('{"languages": ["fr", "nl"]}')
    read = settings.read
    return lambda recipe: read(REPOSITORY / "examples" / recipe / "train.yaml", tmp_path)


def parsed(settings_of, recipe, model="sret"):
    """What fairseq-train understands of a recipe's words."""
    from fairseq import options

    words = [*models.model_args(model, recipe), *settings_of(recipe).args]
    return options.parse_args_and_arch(options.get_training_parser(), ["data", *words])


def leaves(tree, path=()):
    """{path: value} of nested dictionaries."""
    if not isinstance(tree, dict):
        return {path: tree}
    return {key: value for name, part in tree.items() for key, value in leaves(part, (*path, name)).items()}


@not_on_python_3_10
@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_hydra_and_train_sh_agree(settings_of, recipe):
    """Every setting that fairseq-hydra-train takes from train.yaml is the one that fairseq-train gets from train.sh."""
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf
    from omegaconf import OmegaConf

    ours = convert_namespace_to_omegaconf(parsed(settings_of, recipe))
    model = vars(ours.model)
    ours = leaves(OmegaConf.to_container(OmegaConf.masked_copy(ours, [key for key in ours if key != "model"])))
    hydra = [sys.executable, "-m", "fairseq_cli.hydra_train", "--cfg", "job", "--config-name", "train"]
    hydra += ["--config-dir", REPOSITORY / "examples" / recipe]
    said = subprocess.run(hydra, capture_output=True, text=True, check=True).stdout
    theirs = leaves(OmegaConf.to_container(OmegaConf.create(said)))

    per_run = settings.DECIDED_PER_RUN
    per_run = {name for name in per_run if not name.startswith("model.")}
    compared = 0
    for path, value in theirs.items():
        if ".".join(path) in per_run or (isinstance(value, str) and value.startswith("${")):
            continue
        found = model[path[1]] if path[0] == "model" else ours.get(path, value if value is None else "nothing")
        assert found == value, path
        compared += 1
    assert compared > 100
    assert theirs["optimizer", "adam_betas"] == "(0.9, 0.98)"


@pytest.mark.parametrize("recipe", RECIPES)
def test_parameters_of_the_models(settings_of, recipe):
    """Every model of the table can be built; those with the parameters of another have them within 2%."""
    from fairseq.models import ARCH_MODEL_REGISTRY

    counts = {}
    for name in models.MODELS:
        args = parsed(settings_of, recipe, name)
        with torch.device("meta"):  # shapes without memory
            model = ARCH_MODEL_REGISTRY[args.arch].build_model(args, TaskOfOneDictionary())
        counts[name] = sum(
            parameter.numel()
            for key, parameter in model.named_parameters()
            if "embed_tokens" not in key and "output_projection" not in key and not is_unused_copy(key)
        )
    assert counts == {name: numbers[RECIPES.index(recipe)] for name, numbers in PARAMETERS.items()}
    pairs = {"sret-equal-parameters": "baseline", "sret-encoder-only": "baseline", "baseline-small": "sret"}
    for name, other in pairs.items():
        assert abs(counts[name] / counts[other] - 1) < 0.02


class TaskOfOneDictionary(Task):
    def __init__(self):
        super().__init__()
        self.target_dictionary = self.source_dictionary


def test_effective_batch(settings_of):
    """Batches are accumulated to the recipe's effective batch; where that cannot be, a warning says so."""
    wmt = settings_of("wmt14_en_de")
    assert wmt.batch_tokens == 28_672 and settings_of("iwslt14_de_en").batch_tokens == 4_096
    for processes, max_tokens, update_freq in ((8, None, 1), (1, None, 8), (2, 7168, 2), (16, None, 1), (56, None, 1)):
        found = plan.share_out(wmt, processes, max_tokens=max_tokens)
        assert (found.update_freq, found.batch_tokens) == (update_freq, 28_672)
        assert len(plan.report(found, wmt.batch_tokens)) == 1
    assert plan.share_out(wmt, 16).max_tokens == 1792 and plan.share_out(wmt, 56).max_tokens == 512
    three = plan.share_out(wmt, 3)  # which does not divide it
    assert (three.update_freq, three.max_tokens) == (3, 3185) and len(plan.report(three, wmt.batch_tokens)) == 1
    for found in (
        plan.share_out(wmt, 57),  # a batch would be too small for long sentences
        plan.share_out(wmt, 8, update_freq=2),
        plan.share_out(wmt, 16, max_tokens=3584),
    ):
        assert "WARNING: the recipe's effective batch is 28,672" in plan.report(found, wmt.batch_tokens)[1]


@pytest.mark.parametrize(
    "options, gone, sentences",
    [
        ([], [], []),
        (["--power", "2"], [], []),
        (["--lr-scheduler", "inverse_sqrt"], [], []),
        (["--lr-scheduler", "cosine", "--optimizer=fused_adam"], [], []),
        (
            ["--lr-scheduler", "polynomial_decay"],
            ["--warmup-init-lr"],
            ["polynomial_decay takes no --warmup-init-lr: the recipe's is left out."],
        ),
        (
            ["--lr-scheduler=triangular"],
            ["--warmup-updates", "--warmup-init-lr"],
            ["triangular takes no --warmup-updates, --warmup-init-lr: the recipe's is left out."],
        ),
        (
            ["--criterion", "cross_entropy", "--optimizer", "sgd"],
            ["--label-smoothing", "--adam-betas"],
            [
                "cross_entropy takes no --label-smoothing: the recipe's is left out.",
                "sgd takes no --adam-betas: the recipe's is left out.",
            ],
        ),
    ],
)
def test_options_of_another_part(settings_of, tmp_path, options, gone, sentences):
    """What the scheduler, optimizer or criterion chosen behind -- does not take is left out, and nothing else."""
    whole = settings_of("small_corpora").args
    found = settings.read(REPOSITORY / "examples" / "small_corpora" / "train.yaml", tmp_path, options)
    kept = [word for index, word in enumerate(whole) if not {word, whole[index - 1]} & {*gone}]
    assert found.args == kept and found.left_out == sentences and len(kept) == len(whole) - 2 * len(gone)


def test_a_part_that_is_not_there(settings_of, tmp_path):
    with pytest.raises(SystemExit, match=r"^train: there is no --lr-scheduler cosin; choose one of cosine, fixed,"):
        settings.read(REPOSITORY / "examples" / "small_corpora" / "train.yaml", tmp_path, ["--lr-scheduler", "cosin"])


def test_languages(settings_of, tmp_path):
    """They are the recipe's, or where it is for any text those of the prepared text, which has to be there."""
    assert settings_of("wmt14_en_de").languages == ("en", "de")
    assert settings_of("small_corpora").languages == ("fr", "nl")
    (tmp_path / "prepare.json").unlink()
    with pytest.raises(
        SystemExit, match=r"prepare\.json: No such file or directory; run prepare.sh, or give --data DIR"
    ):
        settings_of("small_corpora")


def test_launcher(settings_of):
    """One process is Python's, several are torchrun's, on several machines with the address of the first."""
    wmt = settings_of("wmt14_en_de")
    environment = {"NNODES": "2", "NODE_RANK": "1", "MASTER_ADDR": "first", "MASTER_PORT": "29500"}
    assert "torch.distributed.run" not in plan.launcher(plan.share_out(wmt, 1), environment)
    assert "--nproc-per-node 4 --standalone" in " ".join(plan.launcher(plan.share_out(wmt, 4), environment))
    two = plan.share_out(wmt, 2, nodes=2)
    words = " ".join(plan.launcher(two, environment))
    assert "--nproc-per-node 1 --nnodes 2 --node-rank 1 --master-addr first --master-port 29500" in words
    assert plan.distributed_args(two) == ["--distributed-world-size", "2", "--load-checkpoint-on-all-dp-ranks"]
    assert plan.node_count(environment) == 2 and plan.node_count({}) == 1
    with pytest.raises(SystemExit, match="NNODES is '2'; it takes NNODES, NODE_RANK"):
        plan.node_count({"NNODES": "2"})


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["srett", "--cpu"], "train: unknown model 'srett'; choose one of baseline, baseline-pre-norm,"),
        (["sret", "--cpu", "--data", "/nowhere"], "train: /nowhere/data-bin lacks dict.de.txt; run iwslt14_de_en/pre"),
        (["sret", "--max-update", "0"], "error: argument --max-update: '0' is not a whole number of at least 1"),
        (["sret", "--", "--max-tokens", "5"], "error: --max-tokens stands behind --, where train.sh would not see it"),
        (["sret", "--", "-a", "transformer"], "error: -a stands behind --"),
        (["sret", "--", "--fp16"], "error: --fp16 stands behind --"),
        (["sret", "--cpu", "--precision", "bf16"], "error: --precision bf16 is for a GPU; with --cpu it is fp32."),
    ],
)
def test_bad_words(words, sentence, monkeypatch):
    """What cannot work ends with one sentence."""
    monkeypatch.delenv("DATA", raising=False)
    recipe = ("--recipe", REPOSITORY / "examples" / "iwslt14_de_en")
    assert sentence in refusal(train.main, *recipe, *words)


def test_identity_tells_texts_apart(tmp_path):
    """Another training text with the same dictionaries makes another run."""
    (tmp_path / "data-bin").mkdir()
    for name in ("dict.nl.txt", *(f"train.fr-nl.{side}.{kind}" for side in ("fr", "nl") for kind in ("idx", "bin"))):
        (tmp_path / "data-bin" / name).write_text("old")
    recipe = argparse.Namespace(name="small_corpora")
    settings = argparse.Namespace(languages=("fr", "nl"), args=["--dropout", "0.3"])
    args = argparse.Namespace(data=tmp_path, recipe=recipe, model="sret", seed=1, fairseq_options=[])
    first = train.identity(args, settings)
    for kind, changed in (("idx", {"text"}), ("bin", {"text", "beginning"})):
        (tmp_path / "data-bin" / f"train.fr-nl.nl.{kind}").write_text("new")
        second = train.identity(args, settings)
        assert {name for name in first if first[name] != second[name]} == changed
    settings.args = ["--dropout", "0.1"]  # another train.yaml
    assert train.identity(args, settings)["train.yaml"] != first["train.yaml"]
