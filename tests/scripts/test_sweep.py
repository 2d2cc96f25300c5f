"""scripts/sweep.py runs what is listed, goes on after a failure, resumes, and refuses what cannot be."""

import re
import statistics

import pytest

import sweep
from common import files
from support.commands import refusal
from support.corpora import read_json

# Stand-ins for a recipe's scripts: the score is the seed's, the second seed of the baseline cannot be trained.
# The first $TOGETHER trainings wait, for 10 seconds at most, until all of them have begun.
# With $ENDLESS they end when they are told to.
TRAIN = """
echo "train $* on ${CUDA_VISIBLE_DEVICES-all}" >>"$(dirname "$0")/calls"
for _ in {1..100}; do
  (($(grep -c ^train "$(dirname "$0")/calls") < ${TOGETHER-1})) || break
  sleep 0.1
done
mkdir -p "$5"
line='valid | {"epoch": 1, "valid_nll_loss": "%s", "valid_num_updates": "%s"}\\n'
printf "$line" 9 1 "$3.25" 2 >"$5/train.log"
if [[ -n ${ENDLESS-} ]]; then
  echo training
  trap 'echo told >>"$5/told"; exit 75' TERM
  for _ in {1..600}; do sleep 0.1; done
fi
[[ $1 != baseline || $3 != 2 ]]
"""


EVALUATE = """
echo "evaluate $*" >>"$(dirname "$0")/calls"
[[ -z ${SLOW-} ]] || exec sleep 60
mkdir -p "$3"
seed=${1##*seed}
printf '{"systems": {"x": {"scores": {"test": {
  "sacreBLEU": {"value": 3%s.5, "how": "signature"}, "COMET": {"value": null, "how": "not installed"}}}}}}' "$seed" \
  >"$3/results.json"
"""


@pytest.fixture
def call_sweep(monkeypatch, tmp_path):
    """A function that runs sweep.py on stand-ins and returns its status, its results and the calls of the stand-ins."""
    recipe = tmp_path / "examples" / "iwslt14_de_en"
    recipe.mkdir(parents=True)
    (recipe / "train.sh").write_text(TRAIN)
    (recipe / "evaluate.sh").write_text(EVALUATE)
    monkeypatch.setattr(sweep.files, "REPOSITORY", tmp_path)
    monkeypatch.setattr(sweep.signal, "signal", lambda *_: None)
    monkeypatch.setenv("RUNS", str(tmp_path / "runs"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def call(*words):
        (recipe / "calls").write_text("")
        monkeypatch.setattr(sweep.sys, "argv", ["sweep.py", "--recipe", "iwslt14_de_en", *words])
        status = sweep.main()
        return status, read_json(tmp_path / "runs" / "sweep" / "results.json"), (recipe / "calls").read_text()

    return call


def test_failure_and_deviation(call_sweep, capsys, tmp_path):
    """Two models with two seeds, of which one fails: the others are run, and the failure is named."""
    status, results, calls = call_sweep(
        "--models", "baseline,sret", "--seeds", "1,2", "--", "--cpu", "--", "--dropout", "0"
    )
    assert status == 1
    assert results["failed"] == {"baseline seed 2": "train.sh"}
    said = capsys.readouterr()
    assert "sweep: baseline seed 2 failed in train.sh; its log in" in said.err

    bleu = {model: kinds["test sacreBLEU"] for model, kinds in results["models"].items()}
    assert bleu["baseline"] == {"n": 1, "mean": 31.5, "deviation": None, "values": [31.5], "how": "signature"}
    assert (bleu["sret"]["n"], bleu["sret"]["mean"]) == (2, 32.0)
    assert bleu["sret"]["deviation"] == pytest.approx(statistics.stdev([31.5, 32.5]))
    assert results["models"]["sret"]["valid nll"]["values"] == [1.25, 2.25], "of the last validation"
    assert "test COMET" not in results["models"]["sret"]
    table = (tmp_path / "runs" / "sweep" / "table.txt").read_text()
    assert "| baseline |        31.50 (n = 1) |" in table and "| sret     | 32.00 ± 0.71 (n = 2) |" in table
    assert "FAILED, not in the table: baseline seed 2" in table
    assert table in said.out

    runs = tmp_path / "runs"
    order = [f"train {model} --seed {seed}" for model in ("baseline", "sret") for seed in (1, 2)]
    trained = [line for line in calls.splitlines() if line.startswith("train")]
    assert trained == [
        f"{words} --save-dir {runs / words[6:].replace(' --seed ', '-seed')} --cpu -- --dropout 0 on all"
        for words in order
    ]
    assert calls.count("evaluate") == 3


def test_gpus_and_table(call_sweep, tmp_path, monkeypatch):
    """Runs from a file are shared out among the GPUs; without a failure the status is 0."""
    monkeypatch.setenv("TOGETHER", "2")
    table = tmp_path / "table"
    table.write_text("# model seed\nsret 1\nsret 3  # again\n\nsret-naive 1\nsret 1 --nll-ratio 0.25\n")
    status, results, calls = call_sweep("--table", str(table), "--gpus", "4,6", "--data", "/data")
    assert status == 0 and results["failed"] == {}
    used = {line.rsplit(" ", 1)[1] for line in calls.splitlines() if line.startswith("train")}
    assert used == {"4", "6"} and calls.count("--data /data") == 8
    assert "sret-nll-ratio-0.25-seed1 --data /data -- --nll-ratio 0.25 on" in calls
    assert results["runs"][3]["options"] == ["--nll-ratio", "0.25"]
    assert set(results["models"]) == {"sret", "sret-naive", "sret-nll-ratio-0.25"}
    assert results["models"]["sret"]["test sacreBLEU"]["values"] == [31.5, 33.5]


def test_table_of_something_else(call_sweep, tmp_path):
    """A line that is no run ends with its number."""
    table = tmp_path / "table"
    table.write_bytes(b"sret 1 --text \xe4\n")
    with pytest.raises(SystemExit, match=r"table cannot be read as UTF-8"):
        call_sweep("--table", str(table))
    for line, sentence in (
        ("sret", "line 2: 'sret' is not MODEL SEED"),
        ("sret 1 nll-ratio 0.25", "line 2: 'sret 1 nll-ratio 0.25' is not MODEL SEED"),
        ("sret 1 --adam-betas '(0.9", "line 2: No closing quotation."),
        ("sret 1 --text a/b\nsret 01 --text a_b", "sweep: sret-text-a_b is listed twice with the seed 1."),
    ):
        table.write_text(f"\ufeffbaseline 1\n{line}\n")
        with pytest.raises(SystemExit, match=re.escape(sentence)):
            call_sweep("--table", str(table))


def test_a_sharp_inside_a_word(call_sweep, tmp_path):
    """Only behind white space does it begin a comment, which may hold anything."""
    table = tmp_path / "table"
    table.write_text("sret 1 --teacher run#1 # don't\n")
    assert call_sweep("--table", str(table))[1]["runs"][0]["options"] == ["--teacher", "run#1"]


def test_a_run_that_cannot_be_started(call_sweep, tmp_path, capsys):
    """One whose log cannot have its name fails alone."""
    table = tmp_path / "table"
    table.write_text(f"sret 1 --teacher {'x' * 260}\nsret 2\n")
    status, results, _ = call_sweep("--table", str(table))
    assert status == 1 and list(results["failed"].values()) == ["train.sh"]
    assert [run["seed"] for run in results["runs"]] == ["2"]
    assert "cannot be written: File name too long." in capsys.readouterr().err


def test_an_ended_sweep_leaves_the_logs_of_what_it_did_not_start(tmp_path):
    ended = sweep.Sweep("iwslt14_de_en", tmp_path, tmp_path, None, [], [None])
    log = tmp_path / "sret-seed1.train.log"
    log.write_text("of an earlier call")
    ended.end()
    assert ended.perform(sweep.Run("sret", "1")) == "train.sh" and log.read_text() == "of an earlier call"


def test_another_sweep_at_work(call_sweep, tmp_path):
    """Two of them would write to the same logs and table."""
    out = tmp_path / "out"
    out.mkdir()
    locked = files.locked(out / ".lock", "")
    with locked, pytest.raises(SystemExit, match="another sweep writes to"):
        call_sweep("--models", "sret", "--out", str(out))
    assert [path.name for path in out.iterdir()] == [".lock"]


def test_several_jobs(call_sweep, tmp_path, monkeypatch):
    """With --jobs 2 a second training begins while the first one runs; words in quotes are one option."""
    monkeypatch.setenv("TOGETHER", "2")
    table = tmp_path / "table"
    table.write_text("sret 1 --adam-betas '(0.9, 0.98)'\nsret 2\n")
    _, results, calls = call_sweep("--table", str(table), "--jobs", "2")
    assert [line.split()[0] for line in calls.splitlines()] == ["train", "train", "evaluate", "evaluate"]
    assert results["runs"][0]["options"] == ["--adam-betas", "(0.9, 0.98)"]


def test_minutes(call_sweep, tmp_path, monkeypatch, capsys):
    """Two trainings side by side without a GPU are told to end, and scored; what they say is shown meanwhile."""
    monkeypatch.setenv("ENDLESS", "1")
    monkeypatch.setattr(sweep.schedule, "SECONDS_BETWEEN_REPORTS", 1)
    words = ("--models", "sret", "--seeds", "1,2", "--gpus", "cpu,cpu", "--minutes", "5", "--scoring-minutes", "4.95")
    status, results, calls = call_sweep(*words, "--", "--max-tokens", "9", "--", "--dropout", "0")
    assert status == 0 and results["failed"] == {} and results["minutes"] == 5
    train, evaluate = (sorted(line for line in calls.splitlines() if line.startswith(name)) for name in ("tr", "ev"))
    assert len(train) == len(evaluate) == 2
    assert all(line.endswith("--cpu --max-tokens 9 -- --dropout 0 on ") for line in train), "and no GPU is visible"
    assert all((tmp_path / "runs" / f"sret-seed{seed}" / "told").read_text() == "told\n" for seed in (1, 2))
    said = capsys.readouterr().out
    assert "sret seed 2: training\n" in said and "sret seed 1: train.sh ended in time\n" in said


def test_minutes_are_kept(call_sweep, monkeypatch, capsys):
    """What is not scored in time is ended and named."""
    monkeypatch.setenv("SLOW", "1")
    status, results, _ = call_sweep("--models", "sret", "--minutes", "0.05", "--gpus", "0")
    assert status == 1 and results["failed"] == {"sret seed 1": "evaluate.sh"}
    said = capsys.readouterr()
    assert "sweep: not all was scored within --minutes 0.05." in said.err
    assert "sret seed 1: evaluate.sh FAILED: time was up\n" in said.out


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["--models", "srett"], "unknown model 'srett'; choose one of baseline,"),
        (["--models", "sret", "--seeds", "1,0"], "sweep: the seed '0' is not a whole number of at least 1."),
        (["--models", "sret", "--seeds", "1,1"], "sweep: sret is listed twice with the seed 1."),
        ([], "sweep: no run is listed; give --models and --seeds, or --table FILE."),
        (["--table", "/nowhere"], "--table /nowhere is no file."),
        (["--table", "/nowhere", "--seeds", "1,2"], "give --models and --seeds or --table, not both."),
        (["--models", "sret", "--out", "/dev/null/x"], "--out: /dev/null/x cannot be made a folder to write in: "),
        (["--models", "sret", "--", "--seed", "3"], "--seed behind -- would be that of every run; give --seeds,"),
        (["--models", "sret", "--", "--data=x"], "--data=x behind -- would be that of every run; give --seeds,"),
        (["--models", "sret", "--jobs", "0"], "--jobs 0 must be at least 1."),
        (
            ["--models", "sret", "--seeds", "1,2,3", "--minutes", "9", "--gpus", "0,0"],
            "all 3 runs are side by side, and",
        ),
        (["--models", "sret", "--scoring-minutes", "2"], "--scoring-minutes is a part of --minutes; give both."),
        (["--models", "sret", "--minutes", "2", "--scoring-minutes", "3"], "--minutes 2 must be more than the 3 for"),
        (["--models", "sret", "--minutes", "0"], "--minutes 0 must be more than the 0 for scoring, above 0."),
    ],
)
def test_bad_words(words, sentence, tmp_path, monkeypatch):
    """What cannot work ends with one sentence."""
    monkeypatch.setenv("RUNS", str(tmp_path))
    assert sentence in refusal(sweep.main, "--recipe", "iwslt14_de_en", *words)


@pytest.mark.parametrize("name", ["comparison", "ablations"])
def test_tables_of_small_corpora(name):
    """Every line of the recipe's tables is a run that fairseq-train takes, none twice."""
    from fairseq import options

    listed = sweep.read_table(sweep.files.REPOSITORY / "examples" / "small_corpora" / f"{name}.txt")
    sweep.check_runs(listed, "small_corpora")
    assert len({(each.name, each.seed) for each in listed}) == len(listed) > 15
    for each in listed:
        words = ["data", *sweep.models.model_args(each.model, "small_corpora"), *each.options]
        options.parse_args_and_arch(options.get_training_parser(), words)
