"""scripts/early_exit.py: a step ends at the pass that the threshold says, and the bound of the speed is right."""

import csv
import json
import logging
import sys

import pytest
import torch

from support.models import Task, build_sret, lengths, pad, source, target
from support.training import make_data, train

LOOP = {"decoder_recursion_span": 2, "decoder_layers": 2, "decoder_recursions": 3}


@pytest.fixture
def script(import_script):
    """The script as a module."""
    return import_script("early_exit")


@pytest.fixture(autouse=True)
def log_level():
    """The script turns fairseq's messages off; other tests read them."""
    level = logging.getLogger().level
    yield
    logging.getLogger().setLevel(level)


def inputs(size):
    """One sentence, and what the decoder has said."""
    sources = pad([source(size, 1)])
    return {
        "src_tokens": sources,
        "src_lengths": lengths(sources),
        "prev_output_tokens": pad([target(size, 2)]),
    }


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("normalize_before", [False, True])
@torch.no_grad()
def test_a_step_ends_with_fewer_passes(script, reverse, normalize_before):
    """With a threshold of 0 the output is that of one pass, above 1 that of all; afterwards the model is as before.

    Up to rounding, since the weights of attention, which the last application returns, are computed in another way.
    """
    model = build_sret(**LOOP, recursion_reverse=reverse, decoder_normalize_before=normalize_before)
    batch = inputs(6)
    encoder_out = model.encoder(batch["src_tokens"], batch["src_lengths"])
    whole = model.decoder(batch["prev_output_tokens"], encoder_out)[0]
    with model.at_passes(1):
        shallow = model.decoder(batch["prev_output_tokens"], encoder_out)[0]
    for threshold, expected, passes in ((0.0, shallow, 1), (2.0, whole, 3)):
        with script.Exit(model.decoder, threshold).installed() as early:
            found = model.decoder(batch["prev_output_tokens"], encoder_out)[0]
        torch.testing.assert_close(found, expected)
        assert early.exits == {passes: 1}
    assert not torch.allclose(shallow, whole)
    assert torch.equal(model.decoder(batch["prev_output_tokens"], encoder_out)[0], whole)


@torch.no_grad()
def test_all_beams_have_to_be_sure(script):
    """The least of the largest probabilities decides, at the very threshold too."""
    model = build_sret(**LOOP)
    batch = inputs(5)
    encoder_out = model.encoder(batch["src_tokens"], batch["src_lengths"])
    with model.at_passes(1):
        logits = model.decoder(batch["prev_output_tokens"], encoder_out)[0]
    least = float(torch.softmax(logits, dim=-1).amax(dim=-1).min())
    for threshold, first in ((least - 1e-4, True), (least + 1e-4, False)):
        with script.Exit(model.decoder, threshold).installed() as early:
            model.decoder(batch["prev_output_tokens"], encoder_out)
        assert (early.exits[1] == 1) is first


def test_bound(script):
    """10 steps of 1 s; 6 of them end after 1 of 3 passes and spare 0.4 s each; a prediction takes 0.1 s."""
    by_passes = {1: 0.2, 2: 0.4, 3: 0.6}
    exits = {1: 6, 3: 4}
    assert script.most_speed(exits, 10.0, by_passes, 0.0) == pytest.approx(10 / 7.6)
    assert script.most_speed(exits, 10.0, by_passes, 0.1) == pytest.approx(10 / (7.6 + 4 * 2 * 0.1))
    assert script.most_speed({3: 10}, 10.0, by_passes, 0.0) == 1


@pytest.mark.parametrize("options", [{}, {**LOOP, "decoder_recursions": 1}])
def test_nothing_to_leave_out(script, options):
    """Decoders of several groups, or of one pass, are refused in one sentence."""
    with pytest.raises(SystemExit, match="the decoder has no passes to leave out: train a sret_transformer with"):
        script.check(build_sret(**options))


def test_unknown_words_are_never_right(script):
    """As in fairseq: what the model does not know is no match for what the dictionary did not."""
    task = Task()
    words = task.target_dictionary.encode_line("word3 word99", add_if_not_exist=False)
    assert script.text(words, task, None) == "word3 <unk>"
    assert script.text(words, task, None, reference=True) == "word3 <<unk>>"


@pytest.mark.parametrize("thresholds", ["0.5,1.5", "-3", "nan", "half", "0.5,"])
def test_thresholds_are_probabilities(script, thresholds, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["early_exit.py", "a.pt", "data", "--out", "out", f"--thresholds={thresholds}"])
    with pytest.raises(SystemExit):
        script.parse_args()
    assert f"--thresholds {thresholds}: give probabilities" in capsys.readouterr().err


@pytest.mark.slow
def test_command(script, tmp_path, monkeypatch, capsys):
    """From a checkpoint to the table, the picture and the numbers."""
    data = make_data(tmp_path)
    train(data, tmp_path / "run", "--decoder-recursions 3 --decoder-recursion-span 3 --max-update 1")
    words = [tmp_path / "run" / "checkpoint_last.pt", data, "--out", tmp_path / "out", "--sentences", 1000]
    words += ["--thresholds", "0,1", "--beam", 2, "--remove-bpe", "sentencepiece"]
    monkeypatch.setattr(sys, "argv", ["early_exit.py", *map(str, words)])
    script.main()
    numbers = json.loads((tmp_path / "out" / "early_exit.json").read_text())
    assert [row["mean passes"] for row in numbers["rows"]] == [3, 1, 3]
    assert set(numbers["step_seconds_by_passes"]) == {"1", "2", "3"} and numbers["prediction_seconds"] > 0
    rows = list(csv.reader((tmp_path / "out" / "early_exit.csv").open()))
    assert rows[0] == list(script.HEADER) and len(rows) == 4
    assert (tmp_path / "out" / "early_exit.png").stat().st_size > 1000
    assert "| all passes |" in capsys.readouterr().out
