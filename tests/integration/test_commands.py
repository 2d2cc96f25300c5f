"""fairseq's commands with this plugin, from raw text to a score, as a user types them."""

import json
from pathlib import Path

import pytest

from support.models import REPOSITORY, python

MODEL = (
    "--arch sret_transformer --encoder-embed-dim 16 --decoder-embed-dim 16 --encoder-ffn-embed-dim 24 "
    "--decoder-ffn-embed-dim 28 --encoder-attention-heads 2 --decoder-attention-heads 4 --encoder-slices 2,3"
).split()


def fairseq(command: str, *words, stdin: str = "", folder: Path = REPOSITORY, user_dir: str = "sret_fairseq"):
    """Run a command of fairseq to its end; its standard output and error together."""
    plugin = ["--user-dir", user_dir] if user_dir else []
    return python("-m", f"fairseq_cli.{command}", *plugin, *words, stdin=stdin, folder=folder)


def write_text(folder: Path, name: str, pairs: int):
    """A toy language pair: the translation of a word is its capital letter, in the opposite order."""
    letters = "abcdefghij"
    sources = [[letters[(3 * row + column * column) % 10] for column in range(2 + row % 7)] for row in range(pairs)]
    (folder / f"{name}.xx").write_text("".join(" ".join(words) + "\n" for words in sources))
    (folder / f"{name}.yy").write_text("".join(" ".join(reversed(words)).upper() + "\n" for words in sources))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with text, data-bin, and a model after 20 updates; and what fairseq-train said."""
    folder = tmp_path_factory.mktemp("commands")
    for name, pairs in (("train", 60), ("valid", 12), ("test", 12)):
        write_text(folder, name, pairs)
    prefixes = [word for name in ("train", "valid", "test") for word in (f"--{name}pref", folder / name)]
    fairseq("preprocess", "-s", "xx", "-t", "yy", "--destdir", folder / "data-bin", *prefixes, user_dir="")
    said = fairseq("train", *train_words(folder), "--max-update", 20)
    return folder, said


def train_words(folder: Path):
    return [
        *(folder / "data-bin", *MODEL, "--save-dir", folder / "checkpoints", "--optimizer", "adam", "--lr", "0.005"),
        *("--criterion", "label_smoothed_cross_entropy", "--max-tokens", 200, "--log-format", "json"),
        *("--log-interval", 5, "--num-workers", 0),
    ]


def checkpoint(folder: Path) -> Path:
    return folder / "checkpoints" / "checkpoint_last.pt"


def test_train_logs_what_the_model_is_made_of(trained):
    """Parameters by part, depth and slices stand in the log before the first update."""
    _, said = trained
    start = said[: said.index("begin training epoch 1")]
    for words in ("parameters: total ", "embeddings ", "blocks ", "NLL ", "coefficients "):
        assert words in start
    assert "3 distinct blocks x 2 passes = virtual depth 6" in start
    assert "slices by pass: 2, 3" in start


def test_training_learns(trained):
    """The loss on the training text falls."""
    _, said = trained
    records = [json.loads(line[line.index("{") :]) for line in said.splitlines() if '"train_loss"' in line]
    assert float(records[-1]["train_loss"]) < float(records[0]["train_loss"])


def test_resume_continues(trained, tmp_path):
    """A second call goes on where the first one stopped."""
    folder, _ = trained
    words = [tmp_path if word == folder / "checkpoints" else word for word in train_words(folder)]
    said = fairseq("train", *words, "--restore-file", checkpoint(folder), "--max-update", 22)
    assert "Loaded checkpoint" in said and "@ 20 updates" in said


def test_generate_and_score(trained, tmp_path):
    """Every test sentence gets a hypothesis, and fairseq-score agrees with fairseq-generate."""
    folder, _ = trained
    # ve-fairseq 0.12.3 drops the last batch when its size is no multiple of this, 8 by default.
    whole = ("--batch-size", 5, "--required-batch-size-multiple", 1)
    said = fairseq("generate", folder / "data-bin", "--path", checkpoint(folder), "--beam", 3, *whole)
    hypotheses = sorted(
        (int(line.split("\t")[0][2:]), line.split("\t")[2]) for line in said.splitlines() if line.startswith("H-")
    )
    assert [number for number, _ in hypotheses] == list(range(12))
    (tmp_path / "hypotheses").write_text("".join(text + "\n" for _, text in hypotheses))
    score = fairseq("score", "--sys", tmp_path / "hypotheses", "--ref", folder / "test.yy", user_dir="")
    in_generate = next(line for line in said.splitlines() if "BLEU4 = " in line).split("BLEU4 = ")[1].split(",")[0]
    assert f"BLEU4 = {in_generate}," in score


def test_interactive(trained):
    """A line on standard input is translated as it comes."""
    folder, _ = trained
    said = fairseq("interactive", folder / "data-bin", "--path", checkpoint(folder), stdin="a b c\nd\n")
    assert [line[:3] for line in said.splitlines() if line.startswith("H-")] == ["H-0", "H-1"]


def test_validate(trained):
    """fairseq-validate reads the checkpoint and reports a loss."""
    folder, _ = trained
    words = ("--path", checkpoint(folder), "--task", "translation", "--max-tokens", 500)
    said = fairseq("validate", folder / "data-bin", *words)
    assert "valid | loss" in said or "valid on 'valid' subset | loss" in said


def test_from_another_folder(trained, tmp_path):
    """An absolute --user-dir works from anywhere."""
    folder, _ = trained
    plugin = str(REPOSITORY / "sret_fairseq")
    said = fairseq("generate", folder / "data-bin", "--path", checkpoint(folder), folder=tmp_path, user_dir=plugin)
    assert "Generate test with beam=5" in said
