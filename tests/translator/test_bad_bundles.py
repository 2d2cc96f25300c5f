"""A bundle that cannot be used is refused in one sentence."""

import json
import shutil
import zlib

import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnx

from sret_translate import BundleError, Translator
from support.bundles import write_bundle


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A bundle."""
    folder = tmp_path_factory.mktemp("bundles") / "bundle"
    write_bundle(folder)
    return folder


@pytest.fixture
def copy(good, tmp_path):
    """A copy of it, to be spoilt."""
    return shutil.copytree(good, tmp_path / "bundle")


def refusal(folder) -> str:
    """The sentence."""
    with pytest.raises(BundleError) as caught:
        Translator(str(folder))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def change(folder, **entries) -> None:
    """Change config.json."""
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **entries}))


def accept(folder, name) -> None:
    """Make the checksum of a file that of its new contents."""
    content = (folder / name).read_bytes()
    files = json.loads((folder / "config.json").read_text())["files"]
    change(folder, files={**files, name: [len(content), zlib.crc32(content)]})


@pytest.mark.parametrize("name", ["encoder.onnx", "decoder_step.onnx", "weights.bin", "source.txt", "target.txt"])
def test_a_missing_or_damaged_file(copy, name):
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    assert f"{name} is damaged" in refusal(copy)
    (copy / name).unlink()
    assert f"{name} is missing" in refusal(copy)


def test_another_folder(tmp_path):
    assert "has no config.json" in refusal(tmp_path)
    assert "has no config.json" in refusal(tmp_path / "nowhere")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": "other"}', "\x00"])
def test_another_configuration(copy, text):
    (copy / "config.json").write_text(text)
    assert "config.json" in refusal(copy)


def test_another_version(copy):
    change(copy, version=3)
    assert "is a bundle of version 3, and this program reads version 2" in refusal(copy)


@pytest.mark.parametrize(
    "entries",
    [
        {"passes": {}},
        {"passes": {"two": ["encoder.onnx", "decoder_step.onnx"]}},
        {"passes": {"2": ["encoder.onnx"]}},
        {"passes": {"2": None}},
        {"passes": {"2": [["encoder.onnx"], ["decoder_step.onnx"]]}},
        {"files": []},
        {"max_target_positions": "100"},
        {"segmentation": "other"},
    ],
)
def test_an_incomplete_configuration(copy, entries):
    change(copy, **entries)
    assert "config.json is incomplete or damaged" in refusal(copy)


def test_an_opset_that_onnxruntime_does_not_know(copy):
    graph = onnx.load(copy / "encoder.onnx", load_external_data=False)
    graph.opset_import[0].version = 999
    (copy / "encoder.onnx").write_bytes(graph.SerializeToString())
    accept(copy, "encoder.onnx")
    change(copy, opset=999)
    sentence = refusal(copy)
    assert "which needs opset 999" in sentence and "pip install --upgrade onnxruntime" in sentence


def test_a_file_that_is_no_graph(copy):
    (copy / "encoder.onnx").write_bytes(b"no graph")
    accept(copy, "encoder.onnx")
    assert "cannot load" in refusal(copy)


@pytest.mark.parametrize("name", ["../encoder.onnx", "/etc/hostname"])
def test_names_outside_of_the_folder(copy, name):
    files = json.loads((copy / "config.json").read_text())["files"]
    change(copy, files={**files, name: [1, 1]})
    assert "names a file outside of it" in refusal(copy)
    change(copy, files=files, passes={"2": [name, name]})
    assert "config.json is incomplete or damaged" in refusal(copy)


def test_a_number_of_passes_that_it_does_not_hold(good):
    with pytest.raises(BundleError, match="holds 2 passes, not 3"):
        Translator(str(good), passes=3)
