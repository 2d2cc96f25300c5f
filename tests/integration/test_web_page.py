"""examples/web/ in a real browser: the page translates as sret-translate does, and says what is wrong."""

import json
import shutil

import pytest
import sentencepiece

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from sret_fairseq.export import bundle
from sret_translate import Translator
from support.browser import browser, find_chromium, served
from support.bundles import write_sentencepiece_bundle
from support.models import REPOSITORY

WEB = REPOSITORY / "examples" / "web"
PUBLISHED = REPOSITORY / "examples" / "pretrained" / "tatoeba_de_en"
pytestmark = [
    pytest.mark.skipif(find_chromium() is None, reason="no Chromium on PATH"),
    pytest.mark.skipif(
        not (WEB / "onnxruntime-web").exists(), reason="onnxruntime-web is not there: bash examples/web/runtime.sh"
    ),
]

TEXT = "old house, blue tree"  # the comma is a character that the model does not know
SHOWN = "[...document.querySelectorAll('#translation, #alternatives li')].map((one) => one.childNodes[0]?.textContent)"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The page with a bundle of one and two passes, and an empty folder instead of another."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(WEB, folder / "web", ignore=shutil.ignore_patterns("bundle"))
    write_sentencepiece_bundle(folder, passes=[1, 2])
    (folder / "bundle").rename(folder / "web" / "bundle")
    (folder / "web" / "empty").mkdir()
    return folder / "web"


@pytest.fixture(scope="module")
def page(site, tmp_path_factory):
    """A browser, and the site's address."""
    with served(site) as address, browser(tmp_path_factory.mktemp("profile")) as window:
        window.call("Runtime.enable")
        yield window, address


def ready(window, address: str) -> None:
    """Open the page and wait until it can translate."""
    window.call("Page.navigate", url=address)
    window.wait("document.getElementById('status')?.textContent === 'Ready.'")


def expected(site, passes: int) -> list:
    """What sret-translate makes of the text."""
    (found,) = Translator(str(site / "bundle"), passes=passes).hypotheses([TEXT], max_len_a=2.0, max_len_b=10)
    return [one.text for one in found]


def test_translations_are_those_of_the_command(page, site):
    window, address = page
    ready(window, f"{address}/index.html")
    window.evaluate("document.getElementById('source').focus()")
    window.type(TEXT)
    window.wait(f"JSON.stringify({SHOWN}.map((text) => text?.trim())) === JSON.stringify({expected(site, 2)!r})", 60)
    window.evaluate(
        "(slider => { slider.value = 0; slider.dispatchEvent(new Event('input')); })(document.getElementById('passes'))"
    )
    window.wait(f"JSON.stringify({SHOWN}.map((text) => text?.trim())) === JSON.stringify({expected(site, 1)!r})", 60)
    assert window.evaluate("document.getElementById('times').innerText").split()[::2] == ["1", "2"]
    assert window.evaluate("document.getElementById('passes-shown').textContent") == "1"


def test_the_published_model_translates_on_the_page(page, site):
    window, address = page
    text = bundle.Text(PUBLISHED / "sentencepiece.model")
    bundle.export(str(PUBLISHED / "model.pt"), str(PUBLISHED), str(site / "de"), text)
    sentence = "Der Hund schläft unter dem Tisch."
    (expected_translation,) = Translator(str(site / "de")).translate([sentence], max_len_a=2.0, max_len_b=10)
    ready(window, f"{address}/index.html?bundle=de")
    window.evaluate("document.getElementById('source').focus()")
    window.type(sentence)
    window.wait(f"document.getElementById('translation').textContent === {expected_translation!r}", 60)
    assert window.evaluate("document.getElementById('source-language').textContent") == " (de)"


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_pieces_are_those_of_sentencepiece(kind, page, site):
    window, address = page
    lines = [line for line in (REPOSITORY / "README.md").read_text(encoding="utf-8").splitlines() if line.strip()]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_prefix=str(site / kind), vocab_size=400, model_type=kind, minloglevel=2
    )
    lines += ["caf\u00e9 \u4e2d\u6587\u4e2d x", "aaaaaaa  aaaa", "\u00bd \ufb01n"]
    model = sentencepiece.SentencePieceProcessor(model_file=str(site / f"{kind}.model"))
    ready(window, f"{address}/index.html")
    window.evaluate(
        f"""Promise.all([import("./pieces.js"), fetch("{kind}.model").then((file) => file.arrayBuffer())]).then(
            ([{{ Pieces }}, bytes]) => {{
                const pieces = new Pieces(new Uint8Array(bytes));
                window.found = {json.dumps(lines)}.map((line) => pieces.encode(line));
            }})"""
    )
    assert window.wait("window.found") == [model.encode(line, out_type=str) for line in lines]


def test_nothing_is_fetched_from_elsewhere(page):
    window, address = page
    ready(window, f"{address}/index.html")
    fetched = window.evaluate("performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert len(fetched) > 5
    assert all(name.startswith(address) for name in fetched)


def test_no_empty_text_is_translated(page):
    window, address = page
    ready(window, f"{address}/index.html")
    window.evaluate("document.getElementById('source').focus()")
    window.type("   ")
    window.wait("document.getElementById('status').textContent === 'Ready.'")
    assert window.evaluate(SHOWN) == [None]


def test_a_folder_without_a_bundle_is_refused_in_a_sentence(page):
    window, address = page
    window.call("Page.navigate", url=f"{address}/index.html?bundle=empty")
    said = window.wait("document.querySelector('#status.error')?.textContent")
    assert said == f"{address}/empty is no bundle; put one there, see README.md."
