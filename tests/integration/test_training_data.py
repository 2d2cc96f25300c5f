"""What fairseq-train does with the data, for sret_transformer: formats, limits of length, losses, scores, schedules."""

import json
import logging
import math

import pytest
from fairseq import checkpoint_utils

from support.training import assert_same_weights, load, make_data, train

SHORT = "--max-update 3"


@pytest.fixture(scope="module")
def joined(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("joined"), "--joined-dictionary")


def validation(caplog) -> dict:
    """The last statistics of the validation set that were logged."""
    lines = [record.getMessage() for record in caplog.records if '"valid_loss"' in record.getMessage()]
    return json.loads(lines[-1])


@pytest.mark.parametrize("form", ["raw", "lazy"])
def test_formats_of_data_give_the_same_training(form, data, tmp_path_factory, tmp_path):
    """--dataset-impl: text as it is, or binarised and read lazily, trains as memory-mapped data does."""
    other = make_data(tmp_path_factory.mktemp(form), "--dataset-impl", form)
    weights = train(other, tmp_path / "other", f"{SHORT} --dataset-impl {form}")["model"]
    assert_same_weights(weights, train(data, tmp_path / "mmap", SHORT)["model"])


def test_alignments_train_the_attention(tmp_path, caplog):
    """label_smoothed_cross_entropy_with_alignment with --load-alignments: its weight lowers the loss of alignment."""
    for name, pairs in (("train", 60), ("valid", 12)):
        with (tmp_path / f"{name}.align").open("w") as file:
            for row in range(pairs):
                words = 2 + row % 7  # of the source, see write_text: the target has them in the opposite order behind Z
                print(*(f"{place}-{words - place}" for place in range(words)), file=file)
    data = make_data(tmp_path, "--align-suffix", "align")
    losses = []
    for weight in (0, 5):
        caplog.clear()
        with caplog.at_level(logging.INFO):
            train(
                data,
                tmp_path / str(weight),
                f"--max-update 20 --load-alignments --criterion label_smoothed_cross_entropy_with_alignment "
                f"--alignment-lambda {weight} --log-format json",
            )
        losses.append(float(validation(caplog)["valid_alignment_loss"]))
    assert losses[1] < 0.9 * losses[0]


LIMITS = "--max-source-positions 5 --max-target-positions 5"


def test_too_long_for_the_positions_is_an_error_in_the_validation_set(data, tmp_path):
    """The training set leaves longer sentences out; the validation set does not unless told."""
    with pytest.raises(Exception, match="--skip-invalid-size-inputs-valid-test"):
        train(data, tmp_path, f"{SHORT} {LIMITS}")


@pytest.mark.parametrize("positions", ["", "--encoder-learned-pos --decoder-learned-pos"])
def test_too_long_for_the_positions_is_left_out(positions, data, tmp_path, caplog):
    """With --skip-invalid-size-inputs-valid-test it trains on the sentences within the limits."""
    caplog.set_level(logging.INFO)
    train(data, tmp_path, f"{SHORT} {LIMITS} {positions} --skip-invalid-size-inputs-valid-test")
    assert any("samples have invalid sizes and will be skipped" in record.getMessage() for record in caplog.records)
    (model,), _ = checkpoint_utils.load_model_ensemble([str(tmp_path / "checkpoint_last.pt")])
    assert model.max_positions() == (5, 5)


def test_label_smoothing(data, tmp_path, caplog):
    """The smoothed loss is not the likelihood, in bits; smoothing of 0 makes them equal."""
    caplog.set_level(logging.INFO)
    words = f"{SHORT} --log-format json --criterion label_smoothed_cross_entropy --label-smoothing"
    train(data, tmp_path / "smoothed", f"{words} 0.1")
    smoothed = validation(caplog)
    train(data, tmp_path / "plain", f"{words} 0")
    plain = validation(caplog)
    assert abs(float(smoothed["valid_loss"]) - float(smoothed["valid_nll_loss"])) > 0.001
    assert plain["valid_loss"] == plain["valid_nll_loss"]
    assert 0 < float(plain["valid_nll_loss"]) < 2 * math.log2(17)


def test_scores_of_translations_in_validation(data, tmp_path, caplog):
    """--eval-bleu translates the validation set with beam search, and the best checkpoint may go by it."""
    caplog.set_level(logging.INFO)
    options = {"beam": 2, "max_len_b": 6}
    best = "--best-checkpoint-metric bleu --maximize-best-checkpoint-metric --eval-bleu-print-samples"
    arguments = json.dumps(options).replace(" ", "")
    train(data, tmp_path, f"{SHORT} --log-format json --eval-bleu {best} --eval-bleu-args {arguments}")
    statistics = validation(caplog)
    assert float(statistics["valid_bleu"]) >= 0
    assert load(tmp_path, "checkpoint_best.pt")["extra_state"]["val_loss"] == float(statistics["valid_bleu"])
    assert any("example hypothesis" in record.getMessage() for record in caplog.records)


def test_update_frequency_by_epoch(data, tmp_path):
    """--update-freq 4,1: the first epoch of some seven batches takes two updates, the second one each."""
    batches = train(data, tmp_path / "one", "--max-epoch 1")["optimizer_history"][-1]["num_updates"]
    both = train(data, tmp_path / "both", "--max-epoch 2 --update-freq 4,1")["optimizer_history"][-1]["num_updates"]
    assert both == math.ceil(batches / 4) + batches


def test_share_all_embeddings_with_a_joined_dictionary(joined, tmp_path):
    """One table for both sides and the output, trained and saved as one."""
    weights = train(joined, tmp_path, f"{SHORT} --share-all-embeddings --decoder-embed-dim 16")["model"]
    tables = ["encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "decoder.output_projection.weight"]
    for name in tables[1:]:
        assert (weights[name] == weights[tables[0]]).all()


@pytest.mark.parametrize("more", ["", "--share-decoder-input-output-embed"])
def test_adaptive_softmax_trains(more, data, tmp_path):
    """--adaptive-softmax-cutoff with its criterion: head and tails learn."""
    words = f"--adaptive-softmax-cutoff 6,10 --criterion adaptive_loss --ddp-backend legacy_ddp {more}"
    before = train(data, tmp_path / "before", f"--max-update 1 --lr 0 {words}")["model"]
    after = train(data, tmp_path / "after", f"{SHORT} {words}")["model"]
    names = [name for name in after if ".adaptive_softmax." in name]
    assert len(names) > 3 and not any("output_projection" in name for name in after)
    changed = [name for name in names if (before[name] != after[name]).any()]
    assert len(changed) >= len(names) - 1  # all but the buffer that tells the device
