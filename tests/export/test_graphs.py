"""The graphs of a bundle compute what the model does, whatever its options."""

import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from sret_fairseq.export.check import deviation, of_model, samples
from sret_translate.bundle import Bundle
from support.bundles import write_bundle
from support.models import COMBINATIONS

MORE = {
    "learned-positions": {"encoder_learned_pos": True, "decoder_learned_pos": True},
    "no-positions": {"no_token_positional_embeddings": True},
    "odd-width": {"encoder_embed_dim": 15, "encoder_attention_heads": 3},
    "projected-embeddings": {"decoder_input_dim": 14, "decoder_output_dim": 18},
    "unscaled-embeddings": {"no_scale_embedding": True},
    "no-final-norm": {"no_decoder_final_norm": True},
    "kept-layers": {"encoder_layers_to_keep": "0", "decoder_layers_to_keep": "1,3"},
    **{f"activation-{name}": {"activation_fn": name} for name in ("relu_squared", "gelu", "gelu_accurate", "tanh")},
}


@pytest.mark.parametrize("options", [*COMBINATIONS.values(), *MORE.values()], ids=[*COMBINATIONS, *MORE])
def test_log_probabilities_are_those_of_the_model(options, tmp_path):
    """To rounding, which without a last norm is as large as they are."""
    model = write_bundle(tmp_path / "bundle", **options)
    graphs = Bundle(str(tmp_path / "bundle"))
    bound = 1e-5
    if "no_decoder_final_norm" in options:
        bound = 1e-6 * float(abs(of_model(model, *samples(model))).max())
    assert deviation(model, graphs.encoder, graphs.decoder).largest < bound


def test_fewer_passes_are_those_of_the_model_at_fewer(tmp_path):
    model = write_bundle(tmp_path / "bundle", passes=[1, 2, 3], encoder_recursions=3, decoder_recursions=3)
    for passes in (1, 2, 3):
        graphs = Bundle(str(tmp_path / "bundle"), passes=passes)
        with model.at_passes(passes):
            assert deviation(model, graphs.encoder, graphs.decoder).largest < 1e-5
    assert (
        deviation(model, *(getattr(Bundle(str(tmp_path / "bundle"), passes=1), s) for s in ("encoder", "decoder")))[0]
        > 0.01
    )


def test_shared_weights_are_stored_once(tmp_path):
    model = write_bundle(
        tmp_path / "bundle",
        encoder_recursions=4,
        decoder_recursions=4,
        share_decoder_input_output_embed=True,
        nll_ratio=0.0,
        passes=[1, 4],
    )
    parameters = sum(parameter.numel() for parameter in model.parameters())
    assert (tmp_path / "bundle" / "weights.bin").stat().st_size < 1.1 * 4 * parameters
