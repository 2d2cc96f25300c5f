"""scripts/plot_curves.py reads the logs of fairseq-train as they are, resumed ones too, and draws what they hold."""

import csv
import json
import re
import sys

import pytest

import plot_curves
from common import output
from support.commands import refusal
from support.training import make_data, train


@pytest.fixture
def plot(monkeypatch):
    """A function that runs the script on these words."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["plot_curves.py", *map(str, words)])
        plot_curves.main()

    return run


@pytest.fixture
def panels(monkeypatch):
    """The figures that are drawn from now on: ``{title: {label: [x], [y]}}`` of each."""
    drawn, save = [], output.save_figure

    def record(figure, path):
        drawn.append({axes.get_title(): {} for axes in figure.axes})
        for axes in figure.axes:
            for line in axes.get_lines():
                drawn[-1][axes.get_title()][line.get_label()] = tuple(map(list, line.get_data()))
        save(figure, path)

    monkeypatch.setattr(output, "save_figure", record)
    return drawn


def inner(updates, loss):
    """A report of training, as fairseq prints it."""
    values = {"epoch": 1, "update": 0.5, "loss": "9.5", "nll_loss": str(loss), "wps": "80", "num_updates": str(updates)}
    return f"2026-01-02 03:04:05 | INFO | train_inner | {json.dumps(values)}\n"


def valid(updates, loss, **more):
    """A report of validation."""
    values = {"epoch": 1, "valid_loss": "9.5", "valid_nll_loss": str(loss), "valid_num_updates": str(updates), **more}
    return f"2026-01-02 03:04:05 | INFO | valid | {json.dumps(values)}\n"


EPOCH = (
    '2026-01-02 03:04:05 | INFO | train | {"epoch": 1, "train_loss": "7", "train_nll_loss": "7", "train_num_updates": '
    '"200"}\n'
)
OTHER = "2026-01-02 03:04:05 | INFO | fairseq_cli.train | {'_name': None, 'common': {'seed': 1}}\n"


def rows(folder):
    """The rows of curves.csv."""
    with (folder / "curves.csv").open() as file:
        return [tuple(row) for row in csv.reader(file)]


def test_two_runs(plot, panels, tmp_path):
    """Every quantity with its updates; BLEU for the run that has it; the training loss of the epoch is another one."""
    (tmp_path / "a.log").write_text(
        OTHER + inner(100, 5.5) + inner(200, 4) + valid(200, 4.25, valid_bleu="12.5", valid_best_bleu="20") + EPOCH
    )
    (tmp_path / "b.log").write_text(inner(100, 6) + valid(100, 5))
    plot(tmp_path / "a.log", tmp_path / "b.log", "--names", "A", "B", "--out", tmp_path / "out")
    assert rows(tmp_path / "out") == [
        ("run", "quantity", "updates", "value"),
        ("A", "BLEU", "200", "12.5"),
        ("A", "training loss", "100", "5.5"),
        ("A", "training loss", "200", "4.0"),
        ("A", "validation loss", "200", "4.25"),
        ("B", "training loss", "100", "6.0"),
        ("B", "validation loss", "100", "5.0"),
    ]
    assert (tmp_path / "out" / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert panels == [
        {
            "Validation BLEU": {"A": ([200], [12.5])},
            "Training loss": {"A": ([100, 200], [5.5, 4]), "B": ([100], [6])},
            "Validation loss": {"A": ([200], [4.25]), "B": ([100], [5])},
        }
    ]


def test_without_bleu_no_panel(plot, panels, tmp_path):
    log = tmp_path / "a.log"
    log.write_text(inner(100, 5) + valid(100, 6))
    plot(log, "--out", tmp_path)
    assert list(panels[0]) == ["Training loss", "Validation loss"]
    assert rows(tmp_path)[1][0] == str(log)


def test_a_name_with_dollar_signs(plot, tmp_path):
    """It is no TeX."""
    log = tmp_path / r"$\frac$.log"
    log.write_text(inner(100, 5))
    plot(log, "--out", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["curves.csv", "curves.png"]
    assert rows(tmp_path / "out")[1][0] == str(log)


def test_the_legend_has_every_name(plot, tmp_path, monkeypatch):
    """Also those that begin with _, which matplotlib leaves out by itself."""
    drawn, save = [], output.save_figure
    monkeypatch.setattr(output, "save_figure", lambda figure, path: drawn.append(figure) or save(figure, path))
    for name in ("a", "b"):
        (tmp_path / name).write_text(inner(100, 5))
    plot(tmp_path / "a", tmp_path / "b", "--names", "_a", "b", "--out", tmp_path / "out")
    assert [text.get_text() for text in drawn[0].axes[0].get_legend().get_texts()] == ["_a", "b"]


def test_a_training_that_diverged(plot, tmp_path, capsys):
    """It is drawn up to there, and said of its log alone."""
    (tmp_path / "good").write_text(inner(100, 5))
    (tmp_path / "bad").write_text(inner(100, 5) + inner(200, "nan"))
    plot(tmp_path / "good", tmp_path / "bad", "--out", tmp_path / "out")
    said = [line for line in capsys.readouterr().out.splitlines() if "NaN" in line]
    assert said == [f"{tmp_path / 'bad'} holds NaN or infinity: the training diverged; the picture has gaps there."]


def test_a_resumed_log_keeps_what_came_later(plot, tmp_path):
    """Resumed at 100, with a report cut off by the kill; 300 belongs to what was lost."""
    first = inner(100, 8) + inner(200, 7) + valid(200, 7.5) + inner(300, 6)
    (tmp_path / "a.log").write_text(first + inner(400, 5)[:90] + inner(200, 4) + valid(200, 3))
    plot(tmp_path / "a.log", "--names", "A", "--out", tmp_path)
    assert rows(tmp_path)[1:] == [
        ("A", "training loss", "100", "8.0"),
        ("A", "training loss", "200", "4.0"),
        ("A", "validation loss", "200", "3.0"),
    ]


def test_log_file_of_a_training(plot, tmp_path):
    """--log-file holds the reports without their tags, and several times; cross_entropy has no nll_loss."""
    data, log = make_data(tmp_path), tmp_path / "file.log"
    train(
        data, tmp_path / "run", f"--max-update 4 --max-tokens 1000 --log-interval 1 --log-format json --log-file {log}"
    )
    plot(log, "--out", tmp_path / "out")
    found = rows(tmp_path / "out")[1:]
    assert [row[1:3] for row in found] == [
        (f"{split} loss", str(updates)) for split in ("training", "validation") for updates in (1, 2, 3, 4)
    ]
    losses = [float(row[3]) for row in found[4:]]
    assert losses == sorted(losses, reverse=True)


@pytest.mark.parametrize("log_format", ["json", "simple", "tqdm"])
def test_every_format_gives_the_same_points(plot, data, tmp_path, log_format):
    """BLEU too; tqdm writes to a file what simple writes."""
    log = tmp_path / "file.log"
    words = f"--max-update 3 --max-tokens 1000 --log-interval 1 --eval-bleu --log-format {log_format} --log-file {log}"
    train(data, tmp_path / "run", words)
    plot(log, "--names", "A", "--out", tmp_path / "out")
    found = rows(tmp_path / "out")[1:]
    assert [row[1:3] for row in found] == [
        (kind, str(updates)) for kind in ("BLEU", "training loss", "validation loss") for updates in (1, 2, 3)
    ]
    scores = [float(score) for score in re.findall(r'\bbleu"?:? "?([\d.]+)', log.read_text().replace("valid_", ""))]
    assert list(dict.fromkeys(scores)) == list(dict.fromkeys(float(row[3]) for row in found[:3]))


def test_a_bar_of_tqdm(plot, tmp_path):
    """As a terminal's record has it: a report after each carriage return, and one that was cut off."""
    start = "\repoch 001:  50%|#####     | 5/10 [00:01<00:01,  4.2it/s, loss=9.5, nll_loss=8.25, num_updates="
    (tmp_path / "a.log").write_text(f"{start}5, lr=0.1]{start}6, lr=0.1]{start}7")
    plot(tmp_path / "a.log", "--names", "A", "--out", tmp_path)
    assert [row[2:] for row in rows(tmp_path)[1:]] == [("5", "8.25"), ("6", "8.25")]


def test_plain_reports_that_are_none(plot, tmp_path):
    """Cut off, of another set, or of an epoch, whose loss is another one."""
    lines = [
        "x | INFO | valid | epoch 001 | valid on 'valid' subset | loss 9 | nll_loss 4.5 | num_updates 20\n",
        "x | INFO | valid1 | epoch 001 | valid on 'valid1' subset | loss 9 | nll_loss 7.5 | num_updates 30\n",
        "x | INFO | train | epoch 001 | loss 9 | nll_loss 6.5 | num_updates 30 | lr 0.1\n",
        "x | INFO | valid | epoch 002 | valid on 'valid' subset | loss 9 | nlx | INFO | valid | epoch 002 | valid on "
        "'valid' subset | loss 9 | nll_loss 3.5 | bleu 12.5 | num_updates 40 | best_loss 9\n",
        "x | INFO | valid | epoch 003 | valid on 'valid' subset | loss 9 | nll_loss 2.5 | num_updates 5",
    ]
    (tmp_path / "a.log").write_text("".join(lines))
    plot(tmp_path / "a.log", "--names", "A", "--out", tmp_path)
    found = [row[1:] for row in rows(tmp_path)[1:]]
    assert found == [
        ("BLEU", "40", "12.5"),
        ("validation loss", "20", "4.5"),
        ("validation loss", "40", "3.5"),
    ]


def test_seeds_of_one_system(plot, panels, tmp_path):
    """Their mean at the updates that both have, between their least and greatest; the table keeps each of them."""
    (tmp_path / "a.log").write_text(valid(100, 5) + valid(200, 4) + valid(250, 3))
    (tmp_path / "b.log").write_text(valid(100, 6) + valid(200, 4.5))
    plot(tmp_path / "a.log", tmp_path / "b.log", "--names", "A", "A", "--out", tmp_path / "out")
    assert panels == [{"Validation loss": {"A": ([100, 200], [5.5, 4.25])}}]
    values = [(row[2], row[3]) for row in rows(tmp_path / "out")[1:]]
    assert values == [("100", "5.0"), ("200", "4.0"), ("250", "3.0"), ("100", "6.0"), ("200", "4.5")]


def test_a_band_between_the_least_and_the_greatest():
    """Of runs that lack the quantity nothing is asked."""
    runs = [{"valid": [(1, 4.0), (2, 2.0)]}, {"valid": [(1, 2.0), (2, 3.0), (3, 1.0)]}, {"valid": []}]
    assert output.across(runs, "valid") == [(1, 3.0, 2.0, 4.0), (2, 2.5, 2.0, 3.0)]


def test_the_quickstart_draws_both_losses_in_one_panel(panels, tmp_path):
    points = {"train": [[1, 5.0], [2, 4.0]], "valid": [[2, 4.5]], "bleu": 30.1}
    output.draw_curves({"A": [points]}, [("train", "valid")], tmp_path / "picture.png")
    assert panels == [{"Learning curves": {"A, train": ([1, 2], [5, 4]), "A, valid": ([2], [4.5])}}]


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["good", "good2", "--names", "A"], "--names: 1 name for 2 logs"),
        (["good", "--names", ""], "--names: a name is empty; give each log one."),
        (["good", "good"], "A log is named twice; name each log once."),
        (["good", "./good"], "A log is named twice; name each log once."),
        (["good", "other", "--names", "A", "A"], "The logs of one name share no update of a report"),
        (["good", "nowhere"], "nowhere cannot be read: No such file or directory."),
        (["folder"], "folder cannot be read: Is a directory."),
        (["good", "none"], "none holds no reports of fairseq-train on --log-interval updates or a validation, as"),
        (["binary"], "binary holds no reports"),
    ],
)
def test_refusals(plot, tmp_path, monkeypatch, words, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    for name in ("good", "good2"):
        (tmp_path / name).write_text(inner(100, 8))
    (tmp_path / "other").write_text(inner(150, 8))
    (tmp_path / "none").write_text("2026-01-02 03:04:05 | INFO | train_inner | epoch 001: 5 / 9 loss=5, nll_loss=4\n")
    (tmp_path / "binary").write_bytes(b"\x80\xff\x00\n\xfe{")
    with pytest.raises(SystemExit) as refusal:
        plot(*words, "--out", "out")
    assert sentence in refusal.value.code and "\n" not in refusal.value.code
    assert not (tmp_path / "out").exists()


def test_an_empty_path_is_not_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.log").write_text(inner(1, 2.0))
    assert "argument --out: the path is empty" in refusal(plot_curves.main, "train.log", "--out", "")
    assert [path.name for path in tmp_path.iterdir()] == ["train.log"]
