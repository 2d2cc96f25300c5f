"""What a side of the model applies, in order."""

from typing import Any, List, NamedTuple

from torch import nn

from sret_fairseq.layers.layout import applications


class Application(NamedTuple):
    """One pass of one block.

    Attributes:
        block: the block.
        number: which one of the side it is, from 0.
        pass_index: which pass this is, from 0.
        slices: G.
        permuted: whether they are the other ones: interleaved in the encoder, strides in the decoder.
        projection: the NLL behind it, or what stands for none.
    """

    block: Any
    number: int
    pass_index: int
    slices: int
    permuted: bool
    projection: Any


def applications_of(side: nn.Module) -> List[Application]:
    """All applications of an encoder's or a decoder's blocks, with as many passes as it has been set to."""
    order = applications(side.passes, side.span, len(side.layers), side.along_passes)
    return [application(side, place, *entry) for place, entry in enumerate(order)]


def application(side: nn.Module, place: int, pass_index: int, permuted: bool) -> Application:
    """The application at a place of the order."""
    group_number, within = divmod(place, side.passes * side.span)
    group = side.layers[group_number]
    _, index, row = group.place(within)
    number, slices = group_number * side.span + index, side.slices[pass_index]
    return Application(group.blocks[index], number, pass_index, slices, permuted, group.projections[row][index])
