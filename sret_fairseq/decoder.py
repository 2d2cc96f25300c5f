"""The recursive decoder: fairseq's Transformer decoder with recursion groups for layers."""

from typing import Any, Dict, List, Optional, Tuple

import torch
from fairseq.data import Dictionary
from fairseq.models.transformer.transformer_config import TransformerConfig
from fairseq.models.transformer.transformer_decoder import TransformerDecoderBase
from fairseq.utils import safe_getattr
from torch import Tensor, nn

from sret_fairseq.layers import beams
from sret_fairseq.layers.block import Memory
from sret_fairseq.layers.decoder_slices import decoder_layouts
from sret_fairseq.layers.layout import Layout, applications, padding_keys
from sret_fairseq.layers.recursion import RecursionGroup, wrap_for_fairseq
from sret_fairseq.layers.step import Steps
from sret_fairseq.options import group_count, slices_by_pass


class SretDecoder(TransformerDecoderBase):
    """``--decoder-layers`` blocks in groups of ``--decoder-recursion-span``, looped ``--decoder-recursions`` times.

    Args:
        args: the parsed and validated options.
        dictionary: the target dictionary.
        embed_tokens: the target embedding.
        no_encoder_attn: leave out the cross-attention.
    """

    steps = None  # a layers/step.py:Steps once translations may take them; TorchScript knows no such type

    def __init__(self, args: Any, dictionary: Dictionary, embed_tokens: nn.Embedding, no_encoder_attn: bool = False):
        cfg = TransformerConfig.from_namespace(args)
        blocks = cfg.decoder.layers
        cfg.decoder.layers = group_count(cfg, "decoder")
        super().__init__(cfg, dictionary, embed_tokens, no_encoder_attn)
        cfg.decoder.layers = blocks
        self.slices: List[int] = slices_by_pass(cfg, "decoder")
        self.passes: int = len(self.slices)  # that run; see SretTransformerModel.at_passes
        self.span: int = cfg.decoder_recursion_span
        self.along_passes: bool = cfg.decoder_slices_along_passes
        self.chunk_size: int = cfg.decoder_chunk_size
        # Only then does a criterion need weights of attention in training.
        self.alignments_are_trained: bool = bool(safe_getattr(args, "load_alignments", False))

    def build_decoder_layer(self, cfg: Any, no_encoder_attn: bool = False) -> nn.Module:
        """One recursion group."""
        return wrap_for_fairseq(RecursionGroup(cfg, "decoder", cross_attention=not no_encoder_attn), cfg)

    def make_generation_fast_(self, **_: Any) -> None:
        """Translate in steps on plain tensors from now on, see layers/step.py; fairseq calls this before it does so."""
        self.steps = Steps()

    @torch.jit.unused
    def begin(self) -> None:
        """A translation begins: take the weights as they are now."""
        if self.steps is not None:
            self.steps.begin(self.layers, self.passes * self.span)

    @torch.jit.unused
    def may_step(self, x: Tensor) -> bool:
        """Whether steps stand for the layers now."""
        return self.steps is not None and self.steps.serve(x, self.passes * self.span)

    @torch.jit.unused
    def step(
        self, group: int, x: Tensor, layouts: List[Layout], memory: Memory, need_weights: bool
    ) -> Tuple[Tensor, Optional[Tensor]]:
        """What the recursion group of this number would compute."""
        return self.steps.groups[group](x, layouts, memory, need_weights)

    def embed(self, tokens: Tensor, incremental_state: Optional[Dict[str, Dict[str, Optional[Tensor]]]]) -> Tensor:
        """The stream before the first group: (B, T) -> (T, B, C), T = 1 in incremental decoding."""
        positions: Optional[Tensor] = None
        if incremental_state is not None and not torch.jit.is_scripting():
            positions = self.position_of_step(tokens.size(1))
        if positions is None and self.embed_positions is not None:
            positions = self.embed_positions(tokens, incremental_state=incremental_state)
        if incremental_state is not None:
            tokens = tokens[:, -1:]
            positions = None if positions is None else positions[:, -1:]
        x = self.embed_scale * self.embed_tokens(tokens)
        if self.quant_noise is not None:
            x = self.quant_noise(x)
        if self.project_in_dim is not None:
            x = self.project_in_dim(x)
        if positions is not None:
            x = x + positions
        if self.layernorm_embedding is not None:
            x = self.layernorm_embedding(x)
        return self.dropout_module(x).transpose(0, 1)

    @torch.jit.unused
    def position_of_step(self, length: int) -> Optional[Tensor]:
        """The sinusoidal position of the last of so many tokens, (1, 1, C), or None where fairseq has to make it.

        As fairseq's own, which is the same for all rows; that one computes with sizes as tensors.
        """
        table = getattr(self.embed_positions, "weights", None)
        row = self.padding_idx + length
        if table is None or row >= table.size(0):
            return None
        return table[row].to(self.embed_tokens.weight).view(1, 1, -1)

    def extract_features_scriptable(
        self,
        prev_output_tokens: Tensor,
        encoder_out: Optional[Dict[str, List[Tensor]]],
        incremental_state: Optional[Dict[str, Dict[str, Optional[Tensor]]]] = None,
        full_context_alignment: bool = False,
        alignment_layer: Optional[int] = None,
        alignment_heads: Optional[int] = None,
    ) -> Tuple[Tensor, Dict[str, List[Optional[Tensor]]]]:
        """The decoder without its projection to the vocabulary.

        Masks and slices are made here, once for all groups.

        Args:
            prev_output_tokens: (B, T), all tokens so far, also in incremental decoding.
            encoder_out: the encoder's output, or None.
            incremental_state: fairseq's caches, changed in place, token by token from the first one on; or None.
            full_context_alignment: also attend to later tokens.
            alignment_layer: the recursion group whose last cross-attention is returned (default: the last group; in
                training none, since nothing reads it there and it would cost time, but for ``--load-alignments``).
            alignment_heads: average only the first of its heads (default: all).

        Returns:
            (B, T, C), T = 1 in incremental decoding; and a dictionary: ``attn`` [(B, T, S) or None] the weights,
            ``inner_states`` [(T, B, C), ...] the stream before the first group and after each one, in incremental
            decoding the beams of each sentence [(K, B, C), ...].
        """
        encoded: Optional[Tensor] = None
        encoder_padding_mask: Optional[Tensor] = None
        if encoder_out is not None and len(encoder_out["encoder_out"]) > 0:
            encoded = encoder_out["encoder_out"][0]
        if encoder_out is not None and len(encoder_out["encoder_padding_mask"]) > 0:
            encoder_padding_mask = encoder_out["encoder_padding_mask"][0]
        rows, length = prev_output_tokens.shape

        x = self.embed(prev_output_tokens, incremental_state)
        ancestors: Optional[Tensor] = None
        encoder_mask: Optional[Tensor] = None
        if incremental_state is not None:
            if "beams" not in incremental_state:
                beam = beams.beam_size(encoder_out, rows)
                incremental_state["beams"] = beams.start(rows, beam, encoder_padding_mask, x)
                if not torch.jit.is_scripting():
                    self.begin()
            entry = incremental_state["beams"]
            encoder_mask, ancestors = entry["encoder_mask"], entry["ancestors"]
            assert ancestors is not None
            assert ancestors.size(2) == length - 1, "incremental decoding goes token by token, from the first one on"
            ancestors = beams.step(ancestors)
            entry["ancestors"] = ancestors
            beam = ancestors.size(1)
            x = x.view(rows // beam, beam, -1).transpose(0, 1)
            encoded = None if encoded is None else encoded[:, ::beam]
        elif encoder_padding_mask is not None:
            encoder_mask = padding_keys(encoder_padding_mask, x)
        layouts = decoder_layouts(
            prev_output_tokens.eq(self.padding_idx),
            self.slices[: self.passes],
            applications(self.passes, self.span, len(self.layers), self.along_passes),
            self.chunk_size,
            not full_context_alignment,
            ancestors,
            like=x,
        )

        attention: Optional[Tensor] = None
        inner_states: List[Optional[Tensor]] = [x]
        last = -1 if self.training and not self.alignments_are_trained else self.num_layers - 1
        wanted = last if alignment_layer is None else alignment_layer
        memory, count = Memory(encoded, encoder_mask, incremental_state), self.passes * self.span
        steps = not torch.jit.is_scripting() and ancestors is not None and self.may_step(x)
        for index, layer in enumerate(self.layers):
            part = layouts[index * count : (index + 1) * count]
            if steps and not torch.jit.is_scripting():
                x, weights = self.step(index, x, part, memory, index == wanted)
            else:
                x, weights = layer(x, part, memory, index == wanted)
            inner_states.append(x)
            if weights is not None:
                heads = weights if alignment_heads is None else weights[:, :alignment_heads]
                attention = heads.mean(dim=1).to(x).view(rows, -1, weights.size(3))
        if self.layer_norm is not None:
            x = self.layer_norm(x)
        x = x.transpose(0, 1)
        if incremental_state is not None:
            x = x.reshape(rows, 1, x.size(2))
        if self.project_out_dim is not None:
            x = self.project_out_dim(x)
        return x, {"attn": [attention], "inner_states": inner_states}

    def reorder_incremental_state(
        self, incremental_state: Dict[str, Dict[str, Optional[Tensor]]], new_order: Tensor
    ) -> None:
        """Follow the beam: row i of the search becomes its row new_order[i]. The layers' caches are moved here too."""
        self.reorder_incremental_state_scripting(incremental_state, new_order)

    def reorder_incremental_state_scripting(
        self, incremental_state: Dict[str, Dict[str, Optional[Tensor]]], new_order: Tensor
    ) -> None:
        """The name under which fairseq's search calls it; fairseq's own walks through all modules at every step."""
        if "beams" in incremental_state:
            beams.reorder(incremental_state, new_order)

    def upgrade_state_dict_named(self, state_dict: Dict[str, Tensor], name: str) -> Dict[str, Tensor]:
        """Nothing to do: fairseq's method renames what only its own layers ever had.

        And it would take the averages of ``--store-ema`` for an old checkpoint, and leave out the last LayerNorm.
        """
        return state_dict
