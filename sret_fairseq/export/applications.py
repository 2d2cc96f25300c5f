"""The order in which a side of the model applies its blocks."""

from typing import List, NamedTuple

from torch import nn


class Application(NamedTuple):
    """One pass of one block.

    Attributes:
        block: the block.
        number: which one of the side it is, from 0.
        pass_index: which pass this is, from 0.
        projection: the NLL behind it, or the identity.
    """

    block: nn.Module
    number: int
    pass_index: int
    projection: nn.Module


def applications(side: nn.Module, span: int, reverse: bool) -> List[Application]:
    """All applications of an encoder's or a decoder's blocks, with as many passes as it has been set to.

    Args:
        side: the encoder or the decoder.
        span: blocks of a group.
        reverse: whether every second loop runs backwards.
    """
    result = []
    for group_number, group in enumerate(side.layers):
        for pass_index in range(side.passes):
            order = list(range(span))
            if reverse and pass_index % 2 == 1:
                order.reverse()
            # Passes beyond those of the training go through the last one's projections.
            projections = group.projections[min(pass_index, len(group.projections) - 1)]
            result += [
                Application(group.blocks[index], group_number * span + index, pass_index, projections[index])
                for index in order
            ]
    return result


def permuted(pass_index: int, permutation: str) -> bool:
    """Whether the tokens of a pass are permuted before they are sliced; at inference that is interleaving."""
    return permutation != "none" and pass_index % 2 == 1
