"""What a machine's speed does not change: the operations that a function dispatches, and how often it waits for them.

For a small model on a GPU, where launching an operation takes longer than computing it, their number is the speed.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Sequence, Tuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
# No kernel computes these, or there is nothing to compute: memory is set aside, or seen in another shape.
FREE = {
    aten.empty, aten.empty_like, aten.empty_strided, aten.new_empty, aten.new_empty_strided, aten.detach,
    aten._reshape_alias, aten._unsafe_view, aten.lift_fresh, aten.is_same_size, aten.sym_size, aten.alias,
    aten.resize_, aten.set_, aten.promote_types,
}  # fmt: skip
# The host reads what the device has computed, so that it has to wait for it.
SYNCHRONISING = {
    aten._local_scalar_dense, aten.nonzero, aten.equal, aten.is_nonzero, aten.masked_select, aten.unique_consecutive,
    aten._unique2, aten.unique_dim, aten.repeat_interleave,
}  # fmt: skip


@dataclass
class Operations:
    """Attributes:
    by_name: how often each operation ran that computes something, such as ``aten::mm``.
    synchronisations: those among all operations whose result the host reads.
    """

    by_name: Dict[str, int] = field(default_factory=Counter)
    synchronisations: Dict[str, int] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        """All that compute something."""
        return sum(self.by_name.values())

    @property
    def waits(self) -> int:
        """How often the host waits."""
        return sum(self.synchronisations.values())


def is_view(operation: torch._ops.OpOverload) -> bool:
    """Whether the result is its input's memory seen in another way: an alias that is not written to."""
    return any(result.alias_info is not None and not result.alias_info.is_write for result in operation._schema.returns)


class Counting(TorchDispatchMode):
    """While it is active, counts what is dispatched, by autograd's backward as well."""

    def __init__(self):
        super().__init__()
        self.operations = Operations()

    def __torch_dispatch__(
        self, func: torch._ops.OpOverload, types: Sequence[type], args: Tuple = (), kwargs: Dict[str, Any] | None = None
    ) -> Any:
        """Count one operation and run it."""
        packet, name = func.overloadpacket, func.overloadpacket._qualified_op_name
        if packet in SYNCHRONISING or reads_a_mask(packet, args):
            self.operations.synchronisations[name] += 1
        if func.namespace != "profiler" and packet not in FREE and not is_view(func):
            self.operations.by_name[name] += 1
        return func(*args, **(kwargs or {}))


def reads_a_mask(packet: torch._ops.OpOverloadPacket, args: Tuple) -> bool:
    """Whether this is an index with a boolean mask, whose result has as many rows as the mask has True."""
    if packet not in (aten.index, aten.index_put, aten.index_put_):
        return False
    return any(isinstance(index, torch.Tensor) and index.dtype == torch.bool for index in args[1])


def count(run: Callable[[], object]) -> Operations:
    """The operations of one call. Call the function before, if its first call does more than the others."""
    with Counting() as counting:
        run()
    return counting.operations
