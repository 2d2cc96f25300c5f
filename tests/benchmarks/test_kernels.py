"""What a profiler's events say of a GPU, where it is told, and how a benchmark keeps to its time."""

import argparse
import time
from types import SimpleNamespace

import torch
from torch.autograd import DeviceType

from benchmarks import devices, kernels, report
from benchmarks.time_limit import within


def event(name, microseconds, device=DeviceType.CUDA, annotation=False):
    duration = SimpleNamespace(elapsed_us=lambda: microseconds)
    return SimpleNamespace(name=name, time_range=duration, device_type=device, is_user_annotation=annotation)


EVENTS = [
    event("aten::mm", 90, DeviceType.CPU),
    event("sm90_gemm", 40),
    event("forward", 500, annotation=True),
    event("fmha_cutlassF_bf16", 20),
    event("fmha_cutlassF_bf16", 30),
    event("Context Sync", 7),
    event("Memcpy HtoD", 10),
]


def test_only_a_gpus_own_work_counts():
    """Neither the host's operations, nor the names that fairseq gives to parts of an update, nor waiting."""
    found = kernels.summed(EVENTS, steps=2)
    assert (found.kernels, found.busy_seconds) == (4 / 2, 100e-6 / 2)
    assert found.attention == {"fmha_cutlassF_bf16": 2}


def test_columns_of_a_gpu(monkeypatch):
    """A comparison on a GPU tells utilisation, kernels, their time and memory of A and B."""
    monkeypatch.setattr(devices, "seconds", lambda run, device: 0.5)
    monkeypatch.setattr(devices, "matrix_product_rate", lambda: 1000.0)
    monkeypatch.setattr(kernels, "activity", lambda run, steps: kernels.Activity(9 * steps, 0.025, 3 * 2**20))
    settings = argparse.Namespace(device="cuda", pairs=2, quick=False)
    runs = [lambda: torch.ones(2, 2) @ torch.ones(2, 2)] * 2
    compared = devices.compare("base", runs, 10, "tokens/s", settings, steps=3)
    assert compared.record()["gpu"][1]["kernels"] == 27
    table = report.comparisons_report([compared], []).table
    assert dict(zip(table[0], table[1])) | {
        "kernels A, B": "27, 27", "busy ms A, B": "25.0, 25.0", "beyond the models, MiB A, B": "3, 3"
    } == dict(zip(table[0], table[1]))  # fmt: skip


def test_time_is_kept(monkeypatch):
    """Each size has its share; what might be late is left out and named, and without a limit nothing is."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    for limit, begun, left_out in (
        (40, ["base a", "base b", "big a"], ["base, c", "big, b", "big, c"]),
        (None, None, []),
    ):
        settings = argparse.Namespace(limit=limit, begun=now[0], sizes=["base", "big"], left_out=[])
        seen = []
        for size, takes in (("base", 7), ("big", 14)):
            for name, _ in within(settings, size, dict.fromkeys("abc")):
                seen.append(f"{size} {name}")
                now[0] += takes
        assert settings.left_out == left_out and (begun is None or seen == begun)
    assert len(seen) == 6
