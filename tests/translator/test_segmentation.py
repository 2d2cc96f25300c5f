"""Text that subword-nmt and Moses prepared: the runtime cuts it as they do, and puts it together again."""

import io
import json
import shutil
import sys

import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("sacremoses")

from subword_nmt.apply_bpe import BPE
from subword_nmt.learn_bpe import learn_bpe

from sret_fairseq.errors import OptionError
from sret_fairseq.export import bundle
from sret_translate import BundleError, Translator
from sret_translate.segmentation import Bpe, Moses
from support.bundles import BundleTask
from support.models import REPOSITORY, build_sret

# Real text in English: what its own authors wrote of this project.
TEXT = [
    line
    for name in ("README.md", "CHANGELOG.md", "docs/options.md")
    for line in (REPOSITORY / name).open(encoding="utf-8")
]


def write_codes(path, operations: int = 300, first_version: bool = False):
    """Codes learnt on the first half of the text; its path."""
    codes = io.StringIO()
    learn_bpe(TEXT[: len(TEXT) // 2], codes, operations)
    lines = codes.getvalue().split("\n")
    if first_version:  # in which the end of a word is a symbol of its own, and there is no line with the version
        lines = ["e n", "en </w>", "t h", "th e", "e </w>", "the </w>"]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("operations, first_version", [(0, True), (20, False), (300, False), (2000, False)])
def test_pieces_are_those_of_subword_nmt(operations, first_version, tmp_path):
    path = write_codes(tmp_path / "codes", operations or 5, first_version)
    theirs, ours = BPE(path.open(encoding="utf-8")), Bpe(path)
    changed = 0
    for line in [*TEXT, "", "  two  spaces ", "xxxxxx aaaa\u00a0b \u4e2d\u6587 e\u0301", "@@ </w x"]:
        expected = theirs.process_line(line.rstrip("\n")).split()
        assert ours.encode(line) == expected
        if "\u00a0" not in line:  # which fairseq takes for the end of a piece
            assert ours.decode(expected) == " ".join(line.split())
        changed += expected != line.split()
    assert changed > len(TEXT) // 2


def test_words_begin_behind_a_piece_without_a_mark(tmp_path):
    ours = Bpe(write_codes(tmp_path / "codes"))
    symbols = ours.encode("unbelievable numbers")
    begins = [at for at in range(1, len(symbols)) if ours.begins_word(symbols[at], symbols[at - 1])]
    assert [ours.decode(symbols[at:]) for at in begins] == ["numbers"]


@pytest.mark.parametrize("content", ["", "#version: 0.3\na b\n", "a b c\n", "#version: 0.2\n"])
def test_other_files_are_refused(content, tmp_path):
    (tmp_path / "codes").write_text(content)
    with pytest.raises(BundleError, match="does not hold the codes of subword-nmt"):
        Bpe(tmp_path / "codes")


def test_plain_text_is_tokenised_as_the_recipes_do(tmp_path):
    bpe = Bpe(write_codes(tmp_path / "codes"))
    line = "He\u2019s well-known, isn't he? At 5 p.m."
    plain = Moses(bpe, ["en", "de"], [])
    assert bpe.decode(plain.encode(line)) == "He \u2019 s well-known , isn &apos;t he ? At 5 p.m ."
    chosen = Moses(bpe, ["en", "de"], ["lower", "aggressive", "apostrophes"])
    assert bpe.decode(chosen.encode(line)) == "he &apos;s well @-@ known , isn &apos;t he ? at 5 p.m ."
    assert chosen.decode("Er ist wohl@@ bekannt , &quot; ja &quot; !".split()) == 'Er ist wohlbekannt, "ja"!'


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A bundle of a model that reads and writes pieces of BPE."""
    folder = tmp_path_factory.mktemp("bpe")
    text = bundle.Text(bpe_codes=write_codes(folder / "codes"), moses=["lower"])
    bundle.write(build_sret(3), BundleTask(), folder / "bundle", text)
    return folder / "bundle"


def test_a_bundle_takes_its_codes_along(folder):
    assert json.loads((folder / "config.json").read_text())["moses"] == ["lower"]
    translator = Translator(str(folder))
    assert isinstance(translator.bundle.segmentation, Moses)
    (translation,) = translator.translate(["Hello, world!"], max_len_b=8)
    assert translation


def test_without_sacremoses_it_says_what_to_install(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "sacremoses", None)
    with pytest.raises(BundleError, match="pip install sacremoses"):
        Translator(str(folder))


@pytest.mark.parametrize("key, value", [("moses", ["upper"]), ("moses", "lower"), ("segmentation", "words")])
def test_a_foreign_way_of_preparing_text_is_refused(key, value, folder, tmp_path):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, key: value}))
    with pytest.raises(BundleError, match="incomplete or damaged"):
        Translator(str(tmp_path))


def test_parts_that_do_not_fit_together_are_refused(tmp_path):
    codes = write_codes(tmp_path / "codes")
    for text, part in [
        (bundle.Text(sentencepiece=codes, bpe_codes=codes), "not both"),
        (bundle.Text(moses=[]), "needs the BPE codes"),
        (bundle.Text(bpe_codes=codes, moses=["upper"]), "takes some of lower"),
        (bundle.Text(bpe_codes=REPOSITORY / "setup.py"), "^--bpe-codes: .*setup.py does not hold the codes"),
        (bundle.Text(bpe_codes=tmp_path / "none"), "^--bpe-codes: there is no file"),
        (bundle.Text(sentencepiece=codes), "^--sentencepiece: .*codes is no SentencePiece model"),
        (bundle.Text(sentencepiece=tmp_path / "none"), "^--sentencepiece: there is no file"),
    ]:
        with pytest.raises(OptionError, match=part):
            bundle.write(build_sret(), BundleTask(), tmp_path / "bundle", text)
    assert [path.name for path in tmp_path.iterdir()] == ["codes"]
