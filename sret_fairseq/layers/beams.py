"""Beams in incremental decoding: the caches stay where they are, and a table of ancestors follows the search.

A search keeps K hypotheses, the beams, of each of B sentences: N = B * K rows. At every step it replaces hypotheses by
continuations of others of the same sentence. Instead of moving the cached keys and values of all passes along, the
beams of a sentence attend together, as if they were K positions, to the keys of all of them; a mask lets each see
those of its own past, which ``ancestors`` names: (B, K, T), the beam whose key of step t belongs to the past of
hypothesis k. The keys of the encoder's output are the same for all beams of a sentence and are kept once.
Attention among K beams costs K times that of each to its own past: a wide search, such as one for 100 samples, takes
every hypothesis for a sentence of its own (K = 1), whose caches move.

The caches are written in place: an incremental state belongs to one search. Its entry "beams" is the decoder's, the
others are those of the attention modules.
"""

from typing import Dict, List, Optional

import torch
from torch import Tensor

from sret_fairseq.layers.layout import padding_keys

# Beams that attend together at most. With more, moving the caches is faster (width 128, 25 to 100 tokens, one thread).
MOST_TOGETHER = 40


def beam_size(encoder_out: Optional[Dict[str, List[Tensor]]], rows: int, most: int = MOST_TOGETHER) -> int:
    """How many rows stand for each sentence, copies of one another; 1 where that is not known, differs or is too much.

    Args:
        encoder_out: the encoder's output, whose ``sentences`` tells the sentence of each row.
        rows: N, of the decoder's input.
        most: the largest number that is not too much.
    """
    if encoder_out is None or "sentences" not in encoder_out or len(encoder_out["sentences"]) == 0:
        return 1
    sentences = encoder_out["sentences"][0]
    counts = torch.unique_consecutive(sentences, return_counts=True)[1]
    beam = int(counts[0])
    return beam if beam <= most and sentences.numel() == rows and bool((counts == beam).all()) else 1


def start(rows: int, beam: int, encoder_padding_mask: Optional[Tensor], like: Tensor) -> Dict[str, Optional[Tensor]]:
    """The decoder's entry before the first step.

    Args:
        rows: N.
        beam: K.
        encoder_padding_mask: (N, S), True at padding, or None.
        like: a tensor of the type and on the device of the search.
    """
    encoder_mask: Optional[Tensor] = None
    if encoder_padding_mask is not None and bool(encoder_padding_mask.any()):
        encoder_mask = padding_keys(encoder_padding_mask[::beam], like)
    ancestors = torch.zeros([rows // beam, beam, 0], dtype=torch.long, device=like.device)
    return {"ancestors": ancestors, "encoder_mask": encoder_mask}


def step(ancestors: Tensor) -> Tensor:
    """The table with the step that is computed now: each hypothesis ends in its own row. (B, K, T) -> (B, K, T + 1)."""
    itself = torch.arange(ancestors.size(1), device=ancestors.device)
    return torch.cat([ancestors, itself[None, :, None].expand(ancestors.size(0), -1, 1)], dim=2)


def hidden_from_beams(ancestors: Tensor, hidden: Tensor) -> Tensor:
    """What self-attention among the beams of a sentence may not see.

    Args:
        ancestors: (B, K, T), this step included.
        hidden: boolean (N, T), the steps that a row does not see of its own past.

    Returns:
        boolean (B, 1, K, T * K).
    """
    sentences, beam, length = ancestors.shape
    if beam > 1:
        everyone = ancestors[:, :, -1]  # in this step each hypothesis is its own ancestor
        others = ancestors[:, :, :, None] != everyone[:, None, None, :]
        hidden = others | hidden.view(sentences, beam, length, 1)
    return hidden.view(sentences, 1, beam, length * beam)


def reorder(state: Dict[str, Dict[str, Optional[Tensor]]], new_order: Tensor) -> None:
    """Follow the search: row i becomes what row new_order[i] was.

    Args:
        state: an incremental state with this module's entry, changed in place.
        new_order: (M,), rows of the state from 0 to N - 1.
    """
    ancestors = state["beams"]["ancestors"]
    assert ancestors is not None
    count, beam, length = ancestors.shape
    sentences, beams = new_order // beam, new_order % beam
    in_place = len(new_order) == count * beam and torch.equal(
        sentences.view(count, beam), torch.arange(count, device=new_order.device)[:, None].expand(-1, beam)
    )
    together = in_place
    if not in_place and len(new_order) % beam == 0:
        by_sentence = sentences.view(-1, beam)
        together = bool((by_sentence == by_sentence[:, :1]).all())
        if together:
            ancestors = select_sentences(state, by_sentence[:, 0])
    if together:
        state["beams"]["ancestors"] = ancestors.gather(1, beams.view(-1, beam, 1).expand(-1, -1, length))
    else:
        separate(state, sentences, ancestors[sentences, beams])


def select_sentences(state: Dict[str, Dict[str, Optional[Tensor]]], sentences: Tensor) -> Tensor:
    """Keep these sentences of every cache, in this order; the table of ancestors of those, (B', K, T)."""
    for name in list(state.keys()):
        selected: Dict[str, Optional[Tensor]] = {}
        for part, rows in state[name].items():
            selected[part] = None if rows is None else rows.index_select(0, sentences)
        state[name] = selected
    ancestors = state["beams"]["ancestors"]
    assert ancestors is not None
    return ancestors


def separate(state: Dict[str, Dict[str, Optional[Tensor]]], sentences: Tensor, ancestors: Tensor) -> None:
    """Give every row caches of its own, for an order that does not keep the beams of a sentence together.

    Args:
        state: an incremental state, changed in place.
        sentences: (M,), the sentence of each new row.
        ancestors: (M, T), its ancestors.
    """
    before = state["beams"]["ancestors"]
    assert before is not None
    beam, length = before.size(1), before.size(2)
    select_sentences(state, sentences)
    for name in list(state.keys()):
        if "past" in state[name]:
            keys = state[name]["past"]
            assert keys is not None
            by_beam = keys[:, :, :, : length * beam].unflatten(3, [length, beam])
            index = ancestors[:, None, None, :, None, None].expand(-1, 2, keys.size(2), -1, 1, keys.size(4))
            state[name]["past"] = by_beam.gather(4, index).squeeze(4)
    state["beams"]["ancestors"] = torch.zeros_like(ancestors)[:, None]
