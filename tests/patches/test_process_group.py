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
if sys.argv[1] != "none":
    dist.init_process_group(sys.argv[1], init_method="file://" + sys.argv[2], rank=0, world_size=1)
    print("in a group:", dist.is_initialized())
if sys.argv[3] == "destroy":
    dist.destroy_process_group()
"""


def in_group(*words) -> list:
    """What the script prints, in order: whether the process is in a group."""
    printed = python("-c", SCRIPT, *words).splitlines()
    return [line.removeprefix("in a group: ") for line in printed if line.startswith("in a group: ")]


@pytest.mark.parametrize("user", ["leaves it", "destroy"])
def test_gloo_is_left_before_the_end(user, tmp_path):
    """Without the plugin's registration the last line would say True."""
    assert in_group("gloo", tmp_path / "store", user) == ["True", "False"]


def test_other_groups_are_left_alone(monkeypatch):
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_backend", lambda: dist.Backend.NCCL)
    monkeypatch.setattr(dist, "destroy_process_group", lambda: pytest.fail("NCCL's group is destroyed"))
    leave_gloo()


def test_one_process_has_no_group(tmp_path):
    assert in_group("none", tmp_path / "store", "leaves it") == ["False"]
