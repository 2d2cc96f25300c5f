"""The recursive decoder: fairseq's Transformer decoder with recursion groups for layers."""

from fairseq.models.transformer.transformer_config import TransformerConfig
from fairseq.models.transformer.transformer_decoder import TransformerDecoderBase
from torch import nn

from sret_fairseq.layers.recursion import RecursiveDecoderLayer, wrap_for_fairseq
from sret_fairseq.options import group_count


class SretDecoder(TransformerDecoderBase):
    """``--decoder-layers`` blocks in groups of ``--decoder-recursion-span``, looped ``--decoder-recursions`` times.

    Args:
        args: the parsed and validated options.
        dictionary: the target dictionary.
        embed_tokens: the target embedding.
        no_encoder_attn: leave out the cross-attention.
    """

    def __init__(self, args, dictionary, embed_tokens: nn.Embedding, no_encoder_attn: bool = False):
        cfg = TransformerConfig.from_namespace(args)
        blocks = cfg.decoder.layers
        cfg.decoder.layers = group_count(cfg, "decoder")
        super().__init__(cfg, dictionary, embed_tokens, no_encoder_attn)
        cfg.decoder.layers = blocks

    def build_decoder_layer(self, cfg, no_encoder_attn: bool = False) -> nn.Module:
        """One recursion group."""
        return wrap_for_fairseq(RecursiveDecoderLayer(cfg, no_encoder_attn), cfg)
