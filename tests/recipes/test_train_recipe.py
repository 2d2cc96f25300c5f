"""The recipes' train.sh: its settings, its models, its effective batch, and that it leaves, resumes and ends well."""

import argparse
import fcntl
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

import sret_fairseq  # noqa: F401  (registers the model)
from common import provenance
from recipe import models, plan, record, settings, train
from support.commands import refusal
from support.corpora import TINY, make_corpus, read_json, run, start
from support.models import REPOSITORY, Task, is_unused_copy, not_on_python_3_10

RECIPES = ("iwslt14_de_en", "wmt14_en_de", "small_corpora")
TRAIN = "examples/iwslt14_de_en/train.sh"
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


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("iwslt14"))


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


def test_precision():
    """bf16 and fp16 are taken where every GPU multiplies them fast."""
    precision = provenance.precision
    ampere, volta, pascal = ({"capability": list(pair)} for pair in ((8, 0), (7, 0), (6, 1)))
    assert precision([ampere, {"capability": [12, 0]}]) == ["--bf16"]
    assert precision([ampere, volta]) == ["--fp16"]
    assert precision([ampere, pascal]) == precision([]) == []
    words = train.precision_args
    assert words(None, [ampere]) == ["--bf16"] and words("amp", [ampere]) == ["--amp"]
    assert words("fp32", [ampere]) == words(None, []) == []


def test_commit(tmp_path):
    """The commit of a checkout and whether it was changed; unknown outside git."""
    commit = provenance.commit
    assert commit(tmp_path) == {"commit": "unknown", "dirty": None}
    git = ["git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=a@example.org"]
    (tmp_path / "file").write_text("one")
    for words in (["init", "-q"], ["add", "file"], ["commit", "-qm", "first"]):
        subprocess.run([*git, *words], check=True)
    found = commit(tmp_path)
    assert len(found["commit"]) == 40 and found["dirty"] is False
    (tmp_path / "file").write_text("two")
    assert commit(tmp_path) == {**found, "dirty": True}


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


def test_repair_takes_the_newest_sound_checkpoint(tmp_path):
    """The last checkpoint is a copy of another: one fault may have hit both."""
    for age, name in enumerate(("checkpoint2.pt", "checkpoint1.pt", "checkpoint_last.pt")):
        torch.save({"model": {"x": torch.ones(3)}, "optimizer_history": [{"num_updates": 9 - age}]}, tmp_path / name)
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    for name in ("checkpoint2.pt", "checkpoint_last.pt"):
        os.truncate(tmp_path / name, 100)
    assert record.repair(tmp_path) == 8 == record.updates_done(tmp_path)
    for path in tmp_path.iterdir():
        os.truncate(path, 100)
    with pytest.raises(SystemExit, match=r"checkpoint_last\.pt is damaged"):
        record.repair(tmp_path)


def test_save_dir_that_cannot_be(corpus, tmp_path):
    """A file where the folder should be ends with one sentence."""
    (tmp_path / "file").touch()
    said = run(TRAIN, "sret", "--cpu", "--data", corpus, "--save-dir", tmp_path / "file" / "run", status=1)
    assert f"train: --save-dir {tmp_path / 'file' / 'run'} cannot be written: Not a directory." in said


def test_list():
    """--list prints the table of models."""
    said = run(TRAIN, "--list")
    assert all(f"  {name} " in said for name in PARAMETERS)
    assert "--arch sret_transformer_iwslt_de_en --encoder-layers 5 --decoder-layers 5 --nll-ratio 0.5" in said


def test_sbatch(tmp_path):
    """The SLURM file starts the recipe's train.sh once a machine, and tells it where it is."""
    commands = {
        "scontrol": '[[ $1 == show ]] && printf "first\\nsecond\\n" || echo "$*"',
        "srun": '[[ "$1 $2" == "--kill-on-bad-exit=1 --cpus-per-task=6" ]] && shift 2 && SLURM_NODEID=1 "$@"',
    }
    for name, text in commands.items():
        (tmp_path / name).write_text(f"#!/usr/bin/env bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    for recipe in RECIPES[:2]:
        folder = tmp_path / "examples" / recipe
        folder.mkdir(parents=True)
        (folder / "train.sh").write_text('echo "$NNODES $NODE_RANK $MASTER_ADDR $MASTER_PORT: $*"; exit "${STATUS:-0}"')
        variables = {"SLURM_JOB_NUM_NODES": "2", "SLURM_JOB_NODELIST": "x", "SLURM_JOB_ID": "40007"}
        variables["SLURM_CPUS_PER_TASK"] = "6"
        path = f"{tmp_path}:{os.environ['PATH']}"
        job = ["bash", REPOSITORY / "examples" / recipe / "train.sbatch", "sret", "--seed", "2"]
        environment = {**os.environ, **variables, "SLURM_SUBMIT_DIR": str(tmp_path), "PATH": path}
        expected = "2 1 first 20007: sret --seed 2\n"
        for status, more, requeued in (
            ("0", {}, ""),
            ("75", {}, ""),
            ("75", {"REQUEUE": "1"}, "requeue 40007\n"),
            ("1", {"REQUEUE": "1"}, ""),
        ):
            told = {**environment, "STATUS": status, **more}
            said = subprocess.run(job, env=told, capture_output=True, text=True)
            assert (said.returncode, said.stdout) == (int(status), expected + requeued), said.stderr


@pytest.mark.slow
def test_run_resume_and_finish(corpus, tmp_path):
    """A run leaves all that is promised; the same call again does nothing; with more updates it goes on."""
    words = ("--cpu", "--data", corpus, "--max-tokens", 150, "--seed", 7)
    said = run(TRAIN, "sret", *words, "--max-update", 2, *TINY, RUNS=tmp_path)
    assert "effective batch: 1 process(es) x update-freq 27 x max-tokens 150 = 4,050 tokens" in said
    assert "WARNING: the recipe's effective batch is 4,096 tokens" in said
    assert "sret: update     2 of 2   loss" in said

    folder = tmp_path / "sret-seed7"
    assert {"checkpoint1.pt", "checkpoint_last.pt", "checkpoint_best.pt"} <= {path.name for path in folder.iterdir()}
    assert list((folder / "tensorboard").rglob("events*"))
    log = (folder / "train.log").read_text()
    assert '"train_num_updates": "2"' in log and '"valid_bleu"' in log
    record = read_json(folder / "run.json")
    (first,) = record["starts"]
    assert (record["recipe"], record["model"], record["seed"]) == ("iwslt14_de_en", "sret", 7)
    assert (first["status"], first["updates_before"], first["updates_after"]) == ("finished", 0, 2)
    assert first["command"] in log and "--arch sret_transformer_iwslt_de_en" in first["command"]
    assert first["batch"]["batch_tokens"] == 4050 and first["precision"] == "fp32"
    assert first["packages"]["torch"] and first["hardware"]["cpu"] and first["commit"]

    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.name != "lock"}
    assert "sret: finished, 2 updates are in" in run(TRAIN, "sret", *words, "--max-update", 2, *TINY, RUNS=tmp_path)
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.name != "lock"}

    said = run(TRAIN, "sret", *words, "--max-update", 3, *TINY, RUNS=tmp_path)
    assert "from update 2" in said and "update     3 of 3" in said and "update     1 of 3" not in said
    second = read_json(folder / "run.json")["starts"][1]
    assert (second["updates_before"], second["updates_after"]) == (2, 3)

    said = run(TRAIN, "sret", *words, "--max-update", 3, *TINY, "--dropout", 0.5, RUNS=tmp_path, status=1)
    assert f"holds a run with options '{' '.join(map(str, TINY[1:]))}', not '" in said
    said = run(TRAIN, "baseline", *words, "--save-dir", folder, status=1)
    assert "holds a run with model 'sret', not 'baseline'; name another --save-dir." in said


@pytest.mark.slow
def test_ended_by_patience(corpus, tmp_path):
    """A run that ended early since it did not learn is finished, unless more updates are asked for."""
    words = ("sret", "--cpu", "--data", corpus, "--save-dir", tmp_path / "run", "--max-update", 50)
    words += (*TINY, "--patience", 1, "--lr", "1e-12", "--best-checkpoint-metric", "nll_loss", "--dropout", 0)
    words += ("--maximize-best-checkpoint-metric",)  # the loss falls, so that the second validation is no better
    run(TRAIN, *words)
    record = read_json(tmp_path / "run" / "run.json")
    updates = record["starts"][0]["updates_after"]
    assert updates < 50
    assert f"sret: finished, {updates} updates are in" in run(TRAIN, *words)
    assert read_json(tmp_path / "run" / "run.json") == record


def wait_until(process, holds):
    """Wait, for 100 seconds at most, until something holds while a training runs."""
    for _ in range(1000):
        assert process.poll() is None, process.communicate()[0]
        if holds():
            return
        time.sleep(0.1)
    raise AssertionError("nothing happened")


def released(path):
    """Whether no process holds a lock."""
    with open(path) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


@pytest.mark.slow
def test_killed_and_resumed(corpus, tmp_path):
    """After a kill, or a signal to end, the next call goes on, even if the kill cut the last checkpoint off."""
    folder, last = tmp_path / "run", tmp_path / "run" / "checkpoint_last.pt"
    words = ("baseline", "--cpu", "--data", corpus, "--save-dir", folder)
    process = start(TRAIN, *words, *TINY)
    try:
        wait_until(process, last.exists)
        assert "train: another training is running in" in run(TRAIN, *words, *TINY, status=1)
    finally:
        process.kill()  # train.py alone: fairseq has to end by itself
    process.communicate(timeout=60)
    for _ in range(600):
        if released(folder / "lock"):
            break
        time.sleep(0.1)
    assert released(folder / "lock")
    assert read_json(folder / "run.json")["starts"][0]["status"] == "running"
    os.truncate(last, 1000)

    process = start(TRAIN, *words, *TINY)
    wait_until(process, lambda: len(read_json(folder / "run.json")["starts"]) == 2)
    repaired = last.stat().st_mtime_ns
    wait_until(process, lambda: last.stat().st_mtime_ns > repaired)
    process.terminate()
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 75 and "Traceback" not in said
    assert "train: ending after the current update" in said
    assert "was damaged; going on from checkpoint" in said and "baseline: from update " in said
    ended = read_json(folder / "run.json")["starts"][1]
    assert ended["status"] == "interrupted" and ended["updates_after"] > ended["updates_before"] > 0

    done = ended["updates_after"]
    assert f"from update {done}," in run(TRAIN, *words, "--max-update", done + 1, *TINY)
    assert read_json(folder / "run.json")["starts"][2]["updates_after"] == done + 1


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGUSR1, 75), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_a_signal_leaves_a_checkpoint_and_no_process(corpus, tmp_path, number, status):
    """Long before the epoch, at whose end alone this training saves, is over."""
    folder = tmp_path / "run"
    words = ("baseline", "--cpu", "--data", corpus, "--save-dir", folder, "--max-tokens", 20, "--update-freq", 1)
    process = start(TRAIN, *words, *TINY, "--save-interval", 1000)
    log = folder / "train.log"
    wait_until(process, lambda: log.exists() and '"num_updates"' in log.read_text())
    process.send_signal(number)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == status and "Traceback" not in said, said
    assert released(folder / "lock")
    (record,) = read_json(folder / "run.json")["starts"]
    assert record["status"] == "interrupted" and record["updates_after"] > 0
    assert (folder / "checkpoint_last.pt").exists()
