"""scripts/plot_landscape.py: directions by hand, the loss of fairseq's validation, and the model left as it was."""

import csv
import math
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import plot_landscape
from common import loading
from support.models import PAD, build_fairseq, build_sret, lengths, pad, source, target
from support.training import MODEL, assert_same_weights, make_data, train

PLAIN = MODEL.replace("--arch sret_transformer", "--arch transformer").replace("--encoder-slices 2,3", "")
SMOOTHED = "--criterion label_smoothed_cross_entropy --label-smoothing 0.1"
TRAININGS = {
    "sret": (MODEL, f"{SMOOTHED} --share-decoder-input-output-embed --slice-permutation random"),
    "fairseq": (PLAIN, SMOOTHED),
}


@pytest.fixture(scope="module")
def checkpoints(data, tmp_path_factory):
    """Of each training the path of its checkpoint and the negative log-likelihood that fairseq's validation gave."""
    found = {}
    for name, (model, words) in TRAININGS.items():
        folder = tmp_path_factory.mktemp(name)
        state = train(data, folder, f"{words} --max-update 8 --dropout 0.3", model=model)
        meters = {key: meter["val"] for _, key, _, meter in state["extra_state"]["metrics"]["valid"] if "val" in meter}
        found[name] = folder / "checkpoint_last.pt", float(meters.get("nll_loss", meters["loss"]))
    return found


@pytest.fixture
def run(data, checkpoints, monkeypatch, tmp_path):
    """A function that runs the script from another folder; it returns the rows of landscape.csv, or raises."""

    def call(*words, checkpoint=None, data=data, out=tmp_path / "out"):
        checkpoint = checkpoint or checkpoints["sret"][0]
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["loss", str(checkpoint), str(data), "--out", str(out), *map(str, words)])
        plot_landscape.main()
        assert {path.name for path in Path(out).iterdir()} == {"landscape.csv", "landscape.png"}
        assert (out / "landscape.png").read_bytes().startswith(b"\x89PNG")
        header, *rows = csv.reader((out / "landscape.csv").open())
        assert header == ["alpha", "beta", "loss"]
        return [tuple(map(float, row)) for row in rows]

    return call


def test_direction_by_hand():
    """Rows of a Gaussian, as long as the weights' rows 5, 0 and 13."""
    weights = {"weight": torch.tensor([[3.0, 4.0, 0.0], [0.0, 0.0, 0.0], [12.0, 3.0, -4.0]])}
    direction = plot_landscape.random_direction(weights, torch.Generator().manual_seed(7))["weight"]
    torch.testing.assert_close(direction.norm(dim=1), torch.tensor([5.0, 0.0, 13.0]))
    gaussian = torch.randn(3, 3, generator=torch.Generator().manual_seed(7))
    cosines = torch.nn.functional.cosine_similarity(direction[[0, 2]], gaussian[[0, 2]])
    torch.testing.assert_close(cosines, torch.ones(2))


@pytest.mark.parametrize("options", [{}, {"share_decoder_input_output_embed": True}], ids=["apart", "shared"])
def test_matrices_only(options):
    """Every parameter of two dimensions but the coefficients, and each tensor once."""
    model = build_sret(residual_coefficient_size="channel", residual_coefficients_per_pass=True, **options)
    weights = plot_landscape.weight_matrices(model)
    assert len({id(weight) for weight in weights.values()}) == len(weights)
    left = {name: parameter for name, parameter in model.named_parameters() if name not in weights}
    assert all(parameter.dim() == 1 or ".coefficients." in name for name, parameter in left.items())
    assert any(parameter.dim() == 2 for parameter in left.values())
    assert "decoder.embed_tokens.weight" in weights
    assert ("decoder.output_projection.weight" in weights) == (not options)


def test_weights_move_once_and_come_back():
    """w + 0.5 d1 - 2 d2 in each matrix, shared by two modules or not; then w again, also after an error."""
    model = build_sret(share_decoder_input_output_embed=True)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    weights = plot_landscape.weight_matrices(model)
    generator = torch.Generator().manual_seed(1)
    first, second = (plot_landscape.random_direction(weights, generator) for _ in range(2))
    with pytest.raises(KeyError, match="halfway"), plot_landscape.perturbation(weights) as move:
        move((9.0, second))  # forgotten by the next move
        move((0.5, first), (-2.0, second))
        for name, tensor in model.state_dict().items():
            source = name.replace("output_projection", "embed_tokens")
            moved = 0.5 * first[source] - 2 * second[source] if source in first else torch.zeros(())
            torch.testing.assert_close(tensor, before[name] + moved)
            assert (source in first) == (not torch.equal(tensor, before[name])), name
        raise KeyError("halfway")
    assert_same_weights(model.state_dict(), before)


@pytest.mark.parametrize("name", TRAININGS)
@pytest.mark.parametrize("max_tokens", [20, 4096])
def test_loss_is_that_of_validation(data, checkpoints, name, max_tokens):
    """Without label smoothing and dropout, in bits a token, however the sentences are batched."""
    checkpoint, expected = checkpoints[name]
    model, task = loading.load(checkpoint, data)
    batches = loading.batches(model, task, "valid", None, max_tokens)
    assert (len(batches) > 1) == (max_tokens == 20)
    assert plot_landscape.loss(model, batches) == pytest.approx(expected, rel=1e-5)


def test_adaptive_softmax():
    """By hand, token by token; fairseq's own criterion leaves out the tail's share of word 1 of each cluster."""
    model = build_fairseq(adaptive_softmax_cutoff="9,20")
    sources, previous = pad([source(7), source(4)], left=True), pad([target(6), target(9)])
    wanted = previous.roll(-1, 1)
    net_input = {"src_tokens": sources, "src_lengths": lengths(sources), "prev_output_tokens": previous}
    softmax = model.decoder.adaptive_softmax
    dense = softmax.get_log_prob(model(**net_input)[0], None)
    torch.testing.assert_close(dense.exp().sum(2), torch.ones(2, 9))
    bits = [-dense[place][wanted[place]].item() / math.log(2) for place in np.ndindex(2, 9) if wanted[place] != PAD]
    batches = [{"net_input": net_input, "target": wanted}]
    assert plot_landscape.loss(model, batches) == pytest.approx(sum(bits) / len(bits), rel=1e-5)


def test_landscape(data, checkpoints):
    """Each point is the loss of a model whose weights were moved by hand, and the model is as it was."""
    model, task = loading.load(checkpoints["sret"][0], data)
    batches = loading.batches(model, task, "valid", None, 4096)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    losses = plot_landscape.landscape(model, batches, [-0.5, 0.0, 1.0], seed=5)
    assert_same_weights(model.state_dict(), before)
    assert losses[1, 1] == pytest.approx(checkpoints["sret"][1], rel=1e-5)

    weights = plot_landscape.weight_matrices(model)
    generator = torch.Generator().manual_seed(5)
    first, second = (plot_landscape.random_direction(weights, generator) for _ in range(2))
    with torch.no_grad():
        for name, weight in weights.items():
            weight += first[name] - 0.5 * second[name]
    assert losses[2, 0] == pytest.approx(plot_landscape.loss(model, batches), rel=1e-5)
    assert losses[0, 2] != pytest.approx(losses[2, 0], rel=1e-3)


def test_command(run, checkpoints, capsys):
    """A grid of points, the same with the same seed, and the checkpoint's loss in its middle."""
    rows = run("--points", 3, "--span", 0.5)
    steps = (-0.5, 0.0, 0.5)
    assert [row[:2] for row in rows] == [(alpha, beta) for alpha in steps for beta in steps]
    assert rows[4][2] == pytest.approx(checkpoints["sret"][1], rel=1e-5)
    said = capsys.readouterr()
    assert f"{rows[4][2]:.3f} bits a token at the checkpoint" in said.out
    assert "9/9" in said.err  # the progress bar
    assert said.out.startswith("9 points over 12 sentences: about ")
    assert run("--points", 3, "--span", 0.5) == rows
    other = run("--points", 3, "--span", 0.5, "--seed", 2)
    assert other[4] == rows[4] and other[0] != rows[0]


def test_fairseqs_transformer_and_first_sentences(run, checkpoints, capsys):
    """The same for fairseq's model, over fewer sentences."""
    rows = run("--points", 3, "--max-sentences", 5, checkpoint=checkpoints["fairseq"][0])
    assert len(rows) == 9
    assert "5 sentences of valid" in capsys.readouterr().out


def test_several_on_one_scale(tmp_path):
    """Colours, levels and heights are those of all landscapes."""
    steps = [-1.0, 0.0, 1.0]
    low, high = np.arange(9.0).reshape(3, 3), np.arange(9.0).reshape(3, 3) * 5 + 2
    figure = plot_landscape.draw({"$low$": (steps, low), "high": (steps, high)})
    contours = [axes for axes in figure.axes if axes.name != "3d"]
    surfaces = [axes for axes in figure.axes if axes.name == "3d"]
    assert [axes.get_title().partition(":")[0] for axes in contours] == [r"\$low\$", "high"]
    for axes in [*contours, *surfaces]:
        assert axes.collections[0].get_clim() == (0, 42)
    assert [axes.get_zlim() for axes in surfaces] == [(0, 42), (0, 42)]
    assert all(axes.collections[0].levels[[0, -1]].tolist() == [0, 42] for axes in contours)


def test_beside(run, tmp_path, capsys, monkeypatch):
    """Earlier landscapes are read from their folders, before the work, and drawn above the new one."""
    first = run("--points", 3, out=tmp_path / "first")
    drawn = []
    draw = plot_landscape.draw
    monkeypatch.setattr(plot_landscape, "draw", lambda landscapes: drawn.append(landscapes) or draw(landscapes))
    second = run("--points", 5, "--span", 0.5, "--seed", 2, "--beside", tmp_path / "first", out=tmp_path / "second")
    (landscapes,) = drawn
    assert list(landscapes) == [str(tmp_path / "first"), str(tmp_path / "second")]
    for (steps, losses), rows in zip(landscapes.values(), (first, second)):
        found = [(alpha, beta, losses[i, j]) for i, alpha in enumerate(steps) for j, beta in enumerate(steps)]
        assert found == rows
    for rows in ("", "0,0\n", "0,0,1\n", "0,0,1\n0,1,1\n", "0,0,nan\n"):
        (tmp_path / "first" / "landscape.csv").write_text(f"alpha,beta,loss\n{rows}")
        with pytest.raises(SystemExit, match=r"^--beside: .*landscape\.csv is no landscape of this script"):
            run("--points", 3, "--beside", tmp_path / "first", out=tmp_path / "third")
    with pytest.raises(SystemExit, match=r"^--beside: .*none/landscape\.csv cannot be read: No such file"):
        run("--points", 3, "--beside", tmp_path / "none", out=tmp_path / "third")
    assert not (tmp_path / "third").exists()
    before = (tmp_path / "second" / "landscape.csv").read_bytes()
    with pytest.raises(SystemExit, match=r"^--out: .*second/landscape.csv is read, and would be overwritten"):
        run("--points", 3, "--beside", tmp_path / "second", out=tmp_path / "second")
    assert (tmp_path / "second" / "landscape.csv").read_bytes() == before


def test_the_time_is_told_before_the_work(data, checkpoints, capsys, monkeypatch):
    """By that of one point, which is 2 seconds here."""
    model, task = loading.load(checkpoints["sret"][0], data)
    batches = loading.batches(model, task, "valid", range(5), 4096)
    for points, told in (
        (9, "9 points over 5 sentences: about 18 s\n"),
        (121, "121 points over 5 sentences: about 4 min\n"),
    ):
        times = iter([10.0, 12.0])
        monkeypatch.setattr(plot_landscape.time, "monotonic", lambda times=times: next(times))
        plot_landscape.announce(model, batches, points)
        assert capsys.readouterr().out == told


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["--points", 4], "--points 4: give an odd number"),
        (["--points", 1], "'1' is not a whole number of at least 3"),
        (["--span", 0], "--span 0.0: give a number above 0"),
        (["--span", "nan"], "--span nan: give a number above 0"),
        (["--span", "1e300"], "--span 1e+300: give a number above 0 that float32 can hold"),
        (["--span", "1e30", "--points", 3], "--span 1e+30: so far from the checkpoint the loss is no number"),
        (["--span", "1e-30", "--points", 3], "--span 1e-30: so near the checkpoint the loss is everywhere the same"),
        (["--max-sentences", 0], "'0' is not a whole number of at least 1"),
        (["--seed", 10**20], "100000000000000000000: give a number from -2**63 to 2**64 - 1"),
    ],
)
def test_refused_options(run, tmp_path, capsys, words, sentence):
    with pytest.raises(SystemExit) as caught:
        run(*words)
    assert sentence in (caught.value.code if isinstance(caught.value.code, str) else capsys.readouterr().err)
    assert caught.value.code and not (tmp_path / "out").exists()


def test_refused_files(run, checkpoints, tmp_path):
    """A missing or wrong checkpoint, a folder without data, other dictionaries, a file where the folder goes."""
    (tmp_path / "text.pt").write_text("no checkpoint")
    state = torch.load(checkpoints["sret"][0], weights_only=True)
    state["model"]["encoder.embed_tokens.weight"][5, 1] = float("nan")
    torch.save(state, tmp_path / "nan.pt")
    other = make_data(tmp_path, "--nwordssrc", "4", "--nwordstgt", "4")
    for name, keywords, sentence in [
        ("missing", {"checkpoint": tmp_path / "none.pt"}, r"none\.pt cannot be read: No such file"),
        ("wrong", {"checkpoint": tmp_path / "text.pt"}, r"text\.pt cannot be read: it is damaged or no checkpoint"),
        ("nan", {"checkpoint": tmp_path / "nan.pt"}, r"nan\.pt: the tensor encoder\.embed_tokens\.weight holds NaN"),
        ("empty", {"data": tmp_path / "nowhere"}, r"nowhere is no folder with dict\.\*\.txt"),
        ("sret", {"data": other}, "cannot be loaded with the data in|dictionary is not the one"),
        ("fairseq", {"data": other, "checkpoint": checkpoints["fairseq"][0]}, "cannot be loaded with the data in"),
        ("file", {"out": tmp_path / "text.pt"}, r"--out: .*text\.pt cannot be made a folder"),
    ]:
        with pytest.raises(SystemExit, match=sentence) as caught:
            run("--points", 3, **keywords)
        assert "\n" not in caught.value.code, name
        assert not (tmp_path / "out").exists(), name


def test_refused_data(run, data, tmp_path):
    """A part of the data that is not there, a damaged one, and one without its target side."""
    with pytest.raises(
        SystemExit, match=r"^--subset nothing cannot be read: data: .+ has no set nothing for [^\n]+\.$"
    ):
        run("--subset", "nothing")
    assert not (tmp_path / "out").exists()
    copy = shutil.copytree(data, tmp_path / "copy")
    source, target = sorted(copy.glob("valid.*.idx"))
    whole = source.read_bytes()
    for damaged in (b"", whole[:-8]):
        source.write_bytes(damaged)
        with pytest.raises(SystemExit, match=r"^--subset valid cannot be read: [^\n]+\.$"):
            run("--points", 3, data=copy)
    source.write_bytes(whole)
    for path in (target, target.with_suffix(".bin")):
        path.unlink()
    with pytest.raises(SystemExit, match="--subset valid has no target side; binarise both languages of it"):
        run("--points", 3, data=copy)
