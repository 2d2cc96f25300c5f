"""A bundle is written whole or not at all, and never when it would not compute what the model does."""

import json

import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from sret_fairseq.errors import OptionError
from sret_fairseq.export import bundle, sublayers
from sret_translate.bundle import Bundle
from support.bundles import BundleTask, write_bundle
from support.models import build_fairseq, build_sret


def refusal(model, folder, **options) -> str:
    """The sentence with which an export is refused; it has to leave no folder behind."""
    before = sorted(folder.parent.rglob("*"))
    with pytest.raises(OptionError) as caught:
        bundle.write(model, BundleTask(), folder, **options)
    assert sorted(folder.parent.rglob("*")) == before
    return str(caught.value)


def test_a_graph_that_computes_something_else_is_refused(tmp_path, monkeypatch):
    right = sublayers.factors
    monkeypatch.setattr(sublayers, "factors", lambda *args: [1.001 * factor for factor in right(*args)])
    assert "from the model's" in refusal(build_sret(), tmp_path / "bundle")


@pytest.mark.parametrize(
    "model, options, part",
    [
        (lambda: build_fairseq(), {}, "give a checkpoint of sret_transformer"),
        (lambda: build_sret(adaptive_softmax_cutoff="10"), {}, "--adaptive-softmax-cutoff"),
        (lambda: build_sret(), {"passes": [3]}, "the model has 1 to 2"),
        (lambda: build_sret(), {"passes": [0, 1]}, "the model has 1 to 2"),
    ],
    ids=["foreign", "adaptive", "too-many-passes", "no-pass"],
)
def test_what_cannot_be_exported_is_refused(model, options, part, tmp_path):
    assert part in refusal(model(), tmp_path / "bundle", **options)


def test_a_folder_with_something_else_is_not_replaced(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    assert "is no bundle" in refusal(build_sret(), tmp_path / "mine")
    (tmp_path / "mine" / "config.json").write_text('{"model_type": "bert", "files": {}}')
    assert "is no bundle" in refusal(build_sret(), tmp_path / "mine")
    write_bundle(tmp_path / "bundle", seed=1)
    (tmp_path / "bundle" / "letter.txt").write_text("dear")
    assert "letter.txt" in refusal(build_sret(), tmp_path / "bundle")
    assert (tmp_path / "mine" / "letter.txt").exists() and (tmp_path / "bundle" / "letter.txt").exists()


def test_another_bundle_is_replaced(tmp_path):
    write_bundle(tmp_path / "bundle", seed=1)
    first = (tmp_path / "bundle" / "weights.bin").read_bytes()
    write_bundle(tmp_path / "bundle", seed=2)
    assert (tmp_path / "bundle" / "weights.bin").read_bytes() != first
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_int8_says_how_far_it_is_from_the_model(tmp_path):
    write_bundle(tmp_path / "whole")
    write_bundle(tmp_path / "small", int8=True)
    config = json.loads((tmp_path / "small" / "config.json").read_text())
    assert 1e-4 < config["largest_deviation"] < 1
    assert 0.5 < config["same_best"] <= 1
    sizes = [(tmp_path / name / "weights.bin").stat().st_size for name in ("small", "whole")]
    assert sizes[0] < 0.5 * sizes[1]  # so small a model has many coefficients and biases, which stay whole
    assert Bundle(str(tmp_path / "small")).config["int8"] is True


def test_what_a_killed_export_left_goes_with_the_next(tmp_path):
    """And nothing else: neither the bundle that is replaced nor a folder of another's."""
    (tmp_path / "bundle.01234567.tmp").mkdir()
    (tmp_path / "bundle.01234567.tmp" / "encoder.onnx").touch()
    (tmp_path / "bundle.tmp").mkdir()
    for _ in range(2):
        bundle.write(build_sret(), BundleTask(), tmp_path / "bundle")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "bundle.tmp"]
    Bundle(str(tmp_path / "bundle"))
