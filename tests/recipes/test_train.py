"""The recipes' train.sh leaves what it promises, resumes and ends well."""

import fcntl
import os
import re
import signal
import subprocess
import time

import pytest

from recipe import models
from support.corpora import TINY, make_corpus, read_json, run, start
from support.models import REPOSITORY

RECIPES = ("iwslt14_de_en", "wmt14_en_de", "small_corpora")
TRAIN = "examples/iwslt14_de_en/train.sh"
WMT = "examples/wmt14_en_de/train.sh"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("iwslt14"))


def test_save_dir_that_cannot_be(corpus, tmp_path):
    """A file where the folder should be ends with one sentence."""
    (tmp_path / "file").touch()
    said = run(TRAIN, "sret", "--cpu", "--data", corpus, "--save-dir", tmp_path / "file" / "run", status=1)
    assert f"train: --save-dir {tmp_path / 'file' / 'run'} cannot be written: Not a directory." in said


def test_list():
    """--list prints the table of models."""
    said = run(TRAIN, "--list")
    assert all(f"  {name} " in said for name in models.MODELS)
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
    assert "effective batch: 1 process x update-freq 27 x max-tokens 150 = 4,050 tokens" in said
    assert "WARNING: the recipe's effective batch is 4,096 tokens" in said
    assert "sret: update     2 of 2   loss" in said
    assert re.search(r"sret: update     2 of 2   valid loss [\d.]+   BLEU [\d.]+\n", said)

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
    assert "sret: finished after 2 updates, see" in run(TRAIN, "sret", *words, "--max-update", 2, *TINY, RUNS=tmp_path)
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
def test_a_failure_tells_why(corpus, tmp_path):
    """The last line of fairseq's error stands in the one sentence, beside the log's path."""
    words = ("sret", "--cpu", "--data", corpus, "--save-dir", tmp_path, "--", "--max-source-positions", "x")
    said = run(TRAIN, *words, status=1)
    reason = "fairseq_train.py: error: argument --max-source-positions: invalid int value: 'x'"
    assert said.endswith(f"\ntrain: sret failed: {reason}; see the end of {tmp_path / 'train.log'}.\n")


@pytest.mark.slow
def test_a_scheduler_behind_dashes(tmp_path):
    """The recipe's options that another scheduler does not take are left out, and a decay gets its end."""
    corpus = make_corpus(tmp_path / "corpus", ("en", "de"))
    words = ("sret", "--cpu", "--data", corpus, "--save-dir", tmp_path, "--max-update", 2)
    said = run(WMT, *words, *TINY, "--lr-scheduler", "polynomial_decay", "--power", 2)
    assert "polynomial_decay takes no --warmup-init-lr: the recipe's is left out." in said
    (start,) = read_json(tmp_path / "run.json")["starts"]
    assert start["status"] == "finished" and "--total-num-update 2 " in start["command"]


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
    assert f"sret: finished after {updates} update" in run(TRAIN, *words)
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
