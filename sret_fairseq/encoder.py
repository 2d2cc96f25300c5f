"""The recursive encoder: fairseq's Transformer encoder with recursion groups for layers."""

from typing import Any, Dict, List, Optional

import torch
from fairseq.data import Dictionary
from fairseq.models.transformer.transformer_config import TransformerConfig
from fairseq.models.transformer.transformer_encoder import TransformerEncoderBase
from torch import Tensor, nn

from sret_fairseq.layers.block import Memory
from sret_fairseq.layers.encoder_slices import encoder_layouts
from sret_fairseq.layers.layout import applications
from sret_fairseq.layers.recursion import RecursionGroup, wrap_for_fairseq
from sret_fairseq.options import group_count, slices_by_pass

# In batches of shorter sentences, moving the tokens into slices costs more than the smaller attention saves.
GATHER_FROM = 96


class SretEncoder(TransformerEncoderBase):
    """``--encoder-layers`` blocks in groups of ``--encoder-recursion-span``, looped ``--encoder-recursions`` times.

    Args:
        args: the parsed and validated options.
        dictionary: the source dictionary.
        embed_tokens: the source embedding.
    """

    def __init__(self, args: Any, dictionary: Dictionary, embed_tokens: nn.Embedding):
        cfg = TransformerConfig.from_namespace(args)
        blocks = cfg.encoder.layers
        cfg.encoder.layers = group_count(cfg, "encoder")
        super().__init__(cfg, dictionary, embed_tokens)
        cfg.encoder.layers = blocks
        self.slices: List[int] = slices_by_pass(cfg, "encoder")
        self.passes: int = len(self.slices)  # that run; see SretTransformerModel.at_passes
        self.span: int = cfg.encoder_recursion_span
        self.along_passes: bool = cfg.encoder_slices_along_passes
        self.slice_permutation: str = cfg.slice_permutation
        self.gather_from: int = GATHER_FROM
        self.encoded: int = 0  # sentences so far, so that each has a number of its own

    def build_encoder_layer(self, cfg: Any) -> nn.Module:
        """One recursion group."""
        return wrap_for_fairseq(RecursionGroup(cfg, "encoder", cross_attention=False), cfg)

    def forward_scriptable(
        self,
        src_tokens: Tensor,
        src_lengths: Optional[Tensor] = None,
        return_all_hiddens: bool = False,
        token_embeddings: Optional[Tensor] = None,
    ) -> Dict[str, List[Tensor]]:
        """Encode a batch.

        Args:
            src_tokens: (B, T), padded on either side.
            src_lengths: unused: the padding says it.
            return_all_hiddens: also return the stream before the first group and after each one.
            token_embeddings: (B, T, C) instead of a look-up, or None.

        Returns:
            fairseq's encoder output: ``encoder_out`` [(T, B, C)], ``encoder_padding_mask`` [(B, T)],
            ``encoder_embedding`` [(B, T, C)], ``encoder_states`` [(T, B, C), ...], ``src_lengths`` [(B, 1)]; and
            ``sentences`` [(B,)], a number for each, by which its copies are known later; no two calls give the same,
            so that outputs may be joined.
        """
        padding_mask = src_tokens.eq(self.padding_idx)
        x, embedding = self.forward_embedding(src_tokens, token_embeddings)
        # Whether there is any padding is not asked: a GPU would have to finish first.
        x = x.masked_fill(padding_mask.unsqueeze(-1), 0.0).transpose(0, 1)
        layouts = encoder_layouts(
            padding_mask,
            self.slices[: self.passes],
            applications(self.passes, self.span, len(self.layers), self.along_passes),
            self.slice_permutation,
            self.training,
            like=x,
            gather=src_tokens.size(1) >= self.gather_from,
        )

        states: List[Tensor] = []
        if return_all_hiddens:
            states.append(x)
        count = self.passes * self.span
        for index, layer in enumerate(self.layers):
            x, _ = layer(x, layouts[index * count : (index + 1) * count], Memory(None, None, None))
            if return_all_hiddens:
                states.append(x)
        if self.layer_norm is not None:
            x = self.layer_norm(x)

        first = self.encoded
        self.encoded = first + src_tokens.size(0)
        lengths = (~padding_mask).sum(dim=1, dtype=torch.int32).reshape(-1, 1)
        return {
            "encoder_out": [x],
            "encoder_padding_mask": [padding_mask],
            "encoder_embedding": [embedding],
            "encoder_states": states,
            "fc_results": [],
            "src_tokens": [],
            "src_lengths": [lengths],
            "sentences": [torch.arange(first, self.encoded, device=src_tokens.device)],
        }

    @torch.jit.export
    def reorder_encoder_out(self, encoder_out: Dict[str, List[Tensor]], new_order: Tensor) -> Dict[str, List[Tensor]]:
        """Follow the beam: sentence i becomes sentence new_order[i].

        A search does so at every step, mostly among copies of one sentence: ``sentences`` tells that they are, and
        nothing is moved then.
        """
        if "sentences" in encoder_out:
            before = encoder_out["sentences"][0]
            after = before.index_select(0, new_order)
            if torch.equal(after, before):
                return encoder_out
        reordered: Dict[str, List[Tensor]] = {}
        for name, tensors in encoder_out.items():
            dim = 1 if name == "encoder_out" or name == "encoder_states" else 0
            reordered[name] = [tensor.index_select(dim, new_order) for tensor in tensors]
        return reordered

    def upgrade_state_dict_named(self, state_dict: Dict[str, Tensor], name: str) -> Dict[str, Tensor]:
        """Nothing to do: fairseq's method renames what only its own layers ever had."""
        return state_dict
