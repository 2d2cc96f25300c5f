"""scripts/plot_activations.py: a row for each application, numbers by hand, an identity that is seen as one."""

import csv
import itertools
import sys

import numpy as np
import pytest
import torch

import plot_activations
from common import loading
from support.models import COMBINATIONS, build_fairseq, build_sret, copy_fairseq_weights, lengths, pad, source, target
from support.training import MODEL, assert_same_weights, train

PRE_NORM = {"encoder_normalize_before": True, "decoder_normalize_before": True}


def batch(sizes, left=True, longer=0):
    """A batch of fairseq with sources and targets of these lengths, padded to ``longer``."""
    sources = pad([source(size, size) for size in sizes], left=left, length=longer)
    targets = pad([target(size + 1, size) for size in sizes], length=longer)
    return {
        "net_input": {"src_tokens": sources, "src_lengths": lengths(sources), "prev_output_tokens": targets},
        "nsentences": len(sizes),
    }


def table(rows, side):
    """The rows of one side by column, as arrays."""
    columns = zip(*(row for row in rows if row[0] == side))
    return {name: np.array(column) for name, column in zip(plot_activations.HEADER, columns)}


@pytest.mark.parametrize("options", COMBINATIONS.values(), ids=COMBINATIONS)
def test_a_row_for_each_application(options):
    """As many as the virtual depth, each block as often as it has passes; afterwards the model is as before."""
    model = build_sret(**options)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    rows = plot_activations.observe(model, [batch([7, 4])])
    for side in ("encoder", "decoder"):
        blocks, passes = getattr(model.cfg, f"{side}_layers"), getattr(model.cfg, f"{side}_recursions")
        own = table(rows, side)
        assert own["depth"].tolist() == list(range(1, blocks * passes + 1))
        pairs = set(zip(own["block"].tolist(), own["pass"].tolist()))
        assert pairs == {(block, index) for block in range(1, blocks + 1) for index in range(1, passes + 1)}
    assert_same_weights(model.state_dict(), before)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_order_of_blocks():
    """Groups of two blocks, every second loop backwards."""
    model = build_sret(**COMBINATIONS["cycle-reverse"])
    rows = table(plot_activations.observe(model, [batch([5])]), "decoder")
    assert rows["block"].tolist() == [1, 2, 2, 1, 3, 4, 4, 3]
    assert rows["pass"].tolist() == [1, 1, 2, 2, 1, 1, 2, 2]


def test_more_passes_than_trained():
    """The last NLL, used twice, ends an application each time."""
    model = build_sret(encoder_trained_recursions=2, encoder_recursions=3, allow_untrained_passes=True)
    rows = table(plot_activations.observe(model, [batch([5])]), "encoder")
    assert rows["pass"].tolist() == [1, 2, 3, 1, 2, 3]


def test_numbers_by_hand():
    """Distribution and movement, where fairseq returns the stream itself: before and after each group of one pass."""
    model = build_sret(encoder_recursions=1, decoder_recursions=1)
    sample = batch([9, 3, 6])["net_input"]
    states = model.encoder(sample["src_tokens"], sample["src_lengths"], return_all_hiddens=True)["encoder_states"]
    inner = model(**sample)[1]["inner_states"]
    rows = plot_activations.observe(model, [{"net_input": sample}])
    for side, stream, tokens in (("encoder", states, "src_tokens"), ("decoder", inner, "prev_output_tokens")):
        real = sample[tokens].ne(1).t()
        own = table(rows, side)
        for depth, (x, y) in enumerate(itertools.pairwise(stream)):
            x, y = x[real].detach().double(), y[real].detach().double()
            cosines = (x * y).sum(1) / (x.pow(2).sum(1) * y.pow(2).sum(1)).sqrt()
            changes = ((y - x).pow(2).sum(1) / x.pow(2).sum(1)).sqrt()
            values = np.sort(y.flatten().numpy())
            expected = {
                "mean": values.mean(),
                "std": np.sqrt((values**2).mean() - values.mean() ** 2),
                "median": (values[(len(values) - 1) // 2] + values[len(values) // 2]) / 2,
                **{
                    name: np.quantile(values, q)
                    for name, q in zip(("p1", "p25", "p75", "p99"), (0.01, 0.25, 0.75, 0.99))
                },
                "cosine": cosines.mean().item(),
                "relative_change": changes.mean().item(),
            }
            for name, value in expected.items():
                assert own[name][depth] == pytest.approx(value, rel=1e-4, abs=1e-6), (side, depth, name)


def test_an_identity_is_seen_as_one():
    """Second passes whose branches count nothing, NLL included: cosine 1 and change 0; first passes do something."""
    model = build_sret(residual_coefficients_per_pass=True)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".blocks." in name and ".coefficients." in name:
                parameter[1] = -1 if name.endswith(".residual") else 0
            elif ".projections.1." in name and ".coefficients." in name:
                parameter.fill_(-1 if name.endswith(".residual") else 0)
    for side in ("encoder", "decoder"):
        own = table(plot_activations.observe(model, [batch([7, 4])]), side)
        second = own["pass"] == 2
        assert second.any() and own["cosine"][second] == pytest.approx(1, abs=1e-6)
        assert (own["relative_change"][second] == 0).all()
        assert (own["relative_change"][~second] > 0.01).all() and (own["cosine"][~second] < 0.9999).all()


def test_three_times_the_stream():
    """The whole application, NLL included: 3 x has the cosine 1 and the change 2."""
    model = build_sret(nll_ratio=1.0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".coefficients." in name:
                parameter.fill_(-1 if name.endswith(".residual") else 2 if ".projections." in name else 0)
    for side in ("encoder", "decoder"):
        own = table(plot_activations.observe(model, [batch([6, 8])]), side)
        assert own["cosine"] == pytest.approx(1, abs=1e-6)
        assert own["relative_change"] == pytest.approx(2, abs=1e-5)


def test_padding_does_not_count():
    """Sentences one by one, together, or with more padding: the same numbers."""
    model = build_sret(encoder_slices="2,3")
    alone = plot_activations.observe(model, [batch([9]), batch([3]), batch([6])])
    for other in ([batch([9, 3, 6])], [batch([9, 3, 6], longer=20)], [batch([3, 6], left=False), batch([9])]):
        for row, expected in zip(plot_activations.observe(model, other), alone, strict=True):
            assert row[:4] == expected[:4]
            assert row[4:] == pytest.approx(expected[4:], rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("norm", [PRE_NORM, dict.fromkeys(PRE_NORM, False)], ids=["pre-norm", "post-norm"])
def test_stands_beside_fairseqs_transformer(norm):
    """The same weights in both architectures give the same rows."""
    reference = build_fairseq(**norm)
    model = build_sret(**{**COMBINATIONS["plain"], **norm})
    copy_fairseq_weights(model, reference)
    ours, theirs = (plot_activations.observe(each, [batch([7, 4])]) for each in (model, reference))
    assert len(theirs) == 2 + 4
    for row, expected in zip(ours, theirs, strict=True):
        assert row[:4] == expected[:4]
        assert row[4:] == pytest.approx(expected[4:], rel=1e-4, abs=1e-5)


@pytest.fixture(scope="module")
def checkpoint(data, tmp_path_factory):
    """A training with activation checkpointing, which runs a layer in another way."""
    folder = tmp_path_factory.mktemp("training")
    train(data, folder, "--max-update 3 --checkpoint-activations", model=MODEL)
    return folder / "checkpoint_last.pt"


@pytest.fixture
def run(data, checkpoint, monkeypatch, tmp_path):
    """A function that runs the script from another folder; it returns the rows of activations.csv, or raises."""

    def call(*words):
        out = tmp_path / "out"
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["plot", str(checkpoint), str(data), "--out", str(out), *map(str, words)])
        plot_activations.main()
        assert {path.name for path in out.iterdir()} == {"activations.csv", "activations.png"}
        assert (out / "activations.png").read_bytes().startswith(b"\x89PNG")
        header, *rows = csv.reader((out / "activations.csv").open())
        assert header == "side depth block pass mean std p1 p25 median p75 p99 cosine relative_change".split()
        return [[row[0], *map(float, row[1:])] for row in rows]

    return call


def test_command(run, data, checkpoint, capsys):
    """The numbers of the sentences that were asked for."""
    rows = run()
    assert len(rows) == 2 * 2 + 3 * 2
    assert "10 applications over 12 sentences of valid" in capsys.readouterr().out
    assert run("--sentences", 12) == rows != run("--sentences", 3)
    alone = run("--index", 4)
    assert "over 1 sentence of" in capsys.readouterr().out
    model, task = loading.load(checkpoint, data)
    task.load_dataset("valid")
    sample = task.dataset("valid").collater([task.dataset("valid")[4]])
    for row, expected in zip(alone, plot_activations.observe(model, [sample]), strict=True):
        assert row[0] == expected[0] and row[1:] == pytest.approx(expected[1:])


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["--index", 12], "--subset valid: of its 12 sentences none is asked for"),
        (["--index", -1], "'-1' is not a whole number of at least 0"),
        (["--sentences", 0], "'0' is not a whole number of at least 1"),
        (["--index", 1, "--sentences", 2], "not allowed with"),
    ],
)
def test_refused_options(run, tmp_path, capsys, words, sentence):
    with pytest.raises(SystemExit) as caught:
        run(*words)
    assert sentence in (caught.value.code if isinstance(caught.value.code, str) else capsys.readouterr().err)
    assert caught.value.code and not (tmp_path / "out").exists()
