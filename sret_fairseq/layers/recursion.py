"""Recursion groups: K blocks looped R times together. To fairseq each is one layer."""

from typing import Dict, List, Optional, Tuple

from fairseq.distributed import fsdp_wrap
from fairseq.modules.checkpoint_activations import checkpoint_wrapper
from torch import Tensor, nn

from sret_fairseq.layers.block import DecoderBlock, EncoderBlock
from sret_fairseq.layers.projection import build_projections
from sret_fairseq.layers.slicing import Layout


def wrap_for_fairseq(layer: nn.Module, cfg) -> nn.Module:
    """The layer with activation checkpointing and FSDP as the options ask for, which fairseq gives its own layers."""
    if cfg.checkpoint_activations:
        layer = checkpoint_wrapper(layer, offload_to_cpu=cfg.offload_activations)
    return fsdp_wrap(layer, min_num_params=0 if cfg.checkpoint_activations else cfg.min_params_to_wrap)


def passes_by_projections(trained: int, passes: int) -> List[List[int]]:
    """Which passes go through the projections of each trained pass.

    Fewer passes than were trained use the projections of the first ones, more use those of the last one again.
    """
    rows: List[List[int]] = [[] for _ in range(trained)]
    for pass_index in range(passes):
        rows[min(pass_index, trained - 1)].append(pass_index)
    return rows


class RecursiveEncoderLayer(nn.Module):
    """K encoder blocks, applied R times, with an NLL of its own after each application.

    Args:
        cfg: the TransformerConfig, with this project's options beside fairseq's.
    """

    # TorchScript cannot infer the type of an empty list, which a pass that does not run leaves.
    passes_by_projections: List[List[int]]

    def __init__(self, cfg):
        super().__init__()
        span, trained = cfg.encoder_recursion_span, cfg.encoder_trained_recursions
        self.passes_by_projections = passes_by_projections(trained, cfg.encoder_recursions)
        self.reverse = cfg.recursion_reverse
        self.blocks = nn.ModuleList(EncoderBlock(cfg) for _ in range(span))
        self.projections = build_projections(
            cfg, cfg.encoder.embed_dim, cfg.encoder.normalize_before, blocks=span, passes=trained
        )

    def forward(self, x: Tensor, layouts: List[Layout]) -> Tensor:
        """As many passes as there are layouts, from the first one on.

        Args:
            x: (T, B, C).
            layouts: what self-attention sees in each pass.

        Returns:
            (T, B, C).
        """
        for row, projections in enumerate(self.projections):
            for pass_index in self.passes_by_projections[row]:
                if pass_index >= len(layouts):
                    continue
                for wanted in block_order(len(self.blocks), self.reverse and pass_index % 2 == 1):
                    # TorchScript cannot index a ModuleList by a variable: find the block by walking through them.
                    for index, (block, projection) in enumerate(zip(self.blocks, projections)):
                        if index == wanted:
                            x = projection(block(x, layouts[pass_index], pass_index))
        return x


class RecursiveDecoderLayer(nn.Module):
    """K decoder blocks, applied R times, with an NLL of its own after each application.

    Args:
        cfg: the TransformerConfig, with this project's options beside fairseq's.
        no_encoder_attn: leave out the cross-attention.
    """

    # TorchScript cannot infer the type of an empty list, which a pass that does not run leaves.
    passes_by_projections: List[List[int]]

    def __init__(self, cfg, no_encoder_attn: bool = False):
        super().__init__()
        span, trained = cfg.decoder_recursion_span, cfg.decoder_trained_recursions
        self.passes_by_projections = passes_by_projections(trained, cfg.decoder_recursions)
        self.reverse = cfg.recursion_reverse
        self.blocks = nn.ModuleList(DecoderBlock(cfg, no_encoder_attn) for _ in range(span))
        self.projections = build_projections(
            cfg, cfg.decoder.embed_dim, cfg.decoder.normalize_before, blocks=span, passes=trained
        )

    def forward(
        self,
        x: Tensor,
        encoder_out: Optional[Tensor],
        encoder_mask: Optional[Tensor],
        layouts: List[Layout],
        incremental_state: Optional[Dict[str, Dict[str, Optional[Tensor]]]] = None,
        need_weights: bool = False,
    ) -> Tuple[Tensor, Optional[Tensor]]:
        """As many passes as there are layouts, from the first one on.

        Args:
            x: (T, B, C), in incremental decoding the beams of each sentence: (K, B, C).
            encoder_out: (S, B, encoder's C), or None.
            encoder_mask: (B, 1, 1, S), True where cross-attention may go, or additive, or None.
            layouts: what self-attention sees in each pass.
            incremental_state: fairseq's caches, or None.
            need_weights: also return the weights of the last cross-attention.

        Returns:
            (T, B, C), and the weights (B, H, T, S) or None.
        """
        weights: Optional[Tensor] = None
        applications = len(layouts) * len(self.blocks)
        for row, projections in enumerate(self.projections):
            for pass_index in self.passes_by_projections[row]:
                if pass_index >= len(layouts):
                    continue
                for wanted in block_order(len(self.blocks), self.reverse and pass_index % 2 == 1):
                    applications -= 1
                    for index, (block, projection) in enumerate(zip(self.blocks, projections)):
                        if index == wanted:
                            x, weights = block(
                                x,
                                encoder_out,
                                encoder_mask,
                                layouts[pass_index],
                                incremental_state,
                                pass_index,
                                need_weights and applications == 0,
                            )
                            x = projection(x)
        return x, weights


def block_order(blocks: int, backwards: bool) -> List[int]:
    """The order in which a pass applies the blocks of its group."""
    order = list(range(blocks))
    if backwards:
        order.reverse()
    return order
