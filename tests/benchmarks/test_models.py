"""The systems that are compared."""

import pytest

from benchmarks import models
from support.models import not_on_python_3_10


@pytest.mark.parametrize("words", models.VARIANTS.values(), ids=models.VARIANTS)
def test_same_depth_and_width(words):
    """Both systems apply 6 layers of the same width on each side; the plugin's have half the blocks."""
    a, b = (models.build("tiny", options, "cpu").model for options in (models.A, words))
    for side in ("encoder", "decoder"):
        theirs, ours = getattr(a, side), getattr(b, side)
        assert len(theirs.layers) == len(ours.layers) * getattr(b.cfg, f"{side}_recursions") == 6
        assert theirs.embed_tokens.weight.shape == ours.embed_tokens.weight.shape == (10_000, 128)
        assert getattr(a.cfg, side).normalize_before and getattr(b.cfg, side).normalize_before


@not_on_python_3_10
def test_variants_leave_out_what_they_say():
    """No NLL; without slices and LRC nothing is left but fairseq's layers, half as many."""
    built = {name: models.build("tiny", words, "cpu").model for name, words in models.VARIANTS.items()}
    defaults, wide_nll, no_nll, bare = built.values()
    assert bare.cfg.encoder_slices == "1" and defaults.cfg.encoder_slices == no_nll.cfg.encoder_slices == "2"
    assert models.parameters(bare) < models.parameters(no_nll) < models.parameters(defaults)
    assert models.parameters(defaults) < models.parameters(wide_nll)
    layers = models.build("tiny", models.A, "cpu").model
    assert models.parameters(bare.encoder.layers) == models.parameters(layers.encoder.layers) / 2


def test_parameters_leave_out_the_embeddings():
    """They are shared, so one table."""
    model = models.build("tiny", models.A, "cpu").model
    assert models.parameters(model) == sum(parameter.numel() for parameter in model.parameters()) - 10_000 * 128


@pytest.mark.parametrize("decoder_blocks", [6, 4])
def test_encoder_recursion_has_as_many_parameters(decoder_blocks):
    """Within 3 %, embeddings apart, and the decoder is not recursive."""
    a, b = (
        models.build("tiny", words, "cpu").model
        for words in (models.A, models.encoder_recursion("tiny", decoder_blocks))
    )
    assert models.parameters(b) == pytest.approx(models.parameters(a), rel=0.03)
    assert (b.cfg.encoder_recursions, b.cfg.decoder_recursions) == (3, 1)
    assert len(b.decoder.layers) == decoder_blocks


@not_on_python_3_10
def test_encoder_recursion_refuses_what_cannot_be_equal():
    """11 decoder blocks alone have more parameters than 6+6."""
    with pytest.raises(ValueError, match="11 decoder blocks of size tiny"):
        models.encoder_recursion("tiny", decoder_blocks=11)
