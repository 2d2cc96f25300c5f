"""A process that trained with gloo leaves its group before the interpreter ends; a destroyed group is no error."""

import pytest
import torch.distributed as dist

from sret_fairseq.patches.process_group import leave_gloo
from support.models import python

# What is registered first runs last: after the plugin has left the group.
SCRIPT = """
import atexit, sys
import torch.distributed as dist
atexit.register(lambda: print("in a group:", dist.is_initialized()))
import sret_fairseq
dist.init_process_group("gloo", init_method="file://" + sys.argv[1], rank=0, world_size=1)
print("in a group:", dist.is_initialized())
"""


def test_gloo_is_left_before_the_end(tmp_path):
    """Without the plugin's registration the last line would say True."""
    printed = python("-c", SCRIPT, tmp_path / "store").splitlines()
    assert [line for line in printed if line.startswith("in a group: ")] == ["in a group: True", "in a group: False"]


def test_a_group_that_the_user_has_left_is_no_error(tmp_path):
    """Nor that there has never been one."""
    leave_gloo()
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    dist.destroy_process_group()
    leave_gloo()


def test_other_groups_are_left_alone(monkeypatch):
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_backend", lambda: dist.Backend.NCCL)
    monkeypatch.setattr(dist, "destroy_process_group", lambda: pytest.fail("NCCL's group is destroyed"))
    leave_gloo()
