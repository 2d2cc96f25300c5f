"""The bundle's beam search finds fairseq's hypotheses, with their scores."""

import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from sret_translate.bundle import Bundle
from support.bundles import both_searches, largest_difference, write_bundle
from support.models import source

SOURCES = [source(length, seed) for seed, length in enumerate((1, 2, 3, 5, 5, 8, 13, 20))]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A model, and its graphs."""
    folder = tmp_path_factory.mktemp("small") / "bundle"
    model = write_bundle(folder, seed=7)  # some of whose hypotheses end early
    return model, Bundle(str(folder))


@pytest.mark.parametrize("beam", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_hypotheses_and_scores_are_those_of_fairseq(small, beam, batch_size):
    assert largest_difference(*both_searches(*small, SOURCES, batch_size, beam)) < 1e-4


@pytest.mark.parametrize("options", [{"len_penalty": 0.0}, {"len_penalty": 2.5}, {"min_len": 6}, {"max_len_a": 0.5}])
def test_options_of_the_search_mean_what_they_do_in_fairseq(small, options):
    batch_size = 1 if "max_len_a" in options else 8  # which fairseq multiplies by the longest source of the batch
    sources = SOURCES[-1:] if "max_len_a" in options else SOURCES
    theirs, ours = both_searches(*small, sources, batch_size, 4, **options)
    assert largest_difference(theirs, ours) < 1e-4
    assert ours != both_searches(*small, sources, batch_size, 4)[1]


@pytest.mark.parametrize(
    "options",
    [
        {"decoder_slices": "3", "decoder_chunk_size": 3},
        {"no_cross_attention": True},
        {"encoder_recursions": 3, "decoder_recursions": 1, "decoder_recursion_span": 2},
    ],
    ids=["decoder-slices", "no-cross-attention", "span"],
)
def test_other_models_are_searched_alike(options, tmp_path):
    model = write_bundle(tmp_path / "bundle", seed=5, **options)
    graphs = Bundle(str(tmp_path / "bundle"))
    assert largest_difference(*both_searches(model, graphs, SOURCES, 8, 3)) < 1e-4


def test_caches_grow_with_long_translations(small):
    sources = [source(20, seed) for seed in range(4)]
    theirs, ours = both_searches(*small, sources, 4, 3, max_len_a=3.0, min_len=40)
    assert min(len(one.tokens) for found in ours for one in found) >= 40
    assert largest_difference(theirs, ours) < 1e-4
