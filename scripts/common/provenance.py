"""What a run depends on beside its options: the code's commit, the packages, the machine.

Run as a program it prints ``hardware()`` as JSON: asking about a GPU occupies memory on it for as long as the process
lives, so a program that starts a training asks in a process of its own.
"""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any


def hardware() -> dict[str, Any]:
    """The machine: CPU, and for each GPU its name, memory in GiB and compute capability."""
    import torch

    gpus = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    return {
        "host": platform.node(),
        "cpu": f"{os.cpu_count()}-core {platform.machine()}",
        "gpus": [
            {"name": gpu.name, "memory_gib": round(gpu.total_memory / 2**30), "capability": [gpu.major, gpu.minor]}
            for gpu in gpus
        ],
    }


def hardware_asked() -> dict[str, Any]:
    """The same, asked in a process of its own; one sentence and an end if the GPU's driver does not answer."""
    asked = subprocess.run([sys.executable, __file__], capture_output=True, text=True)
    if asked.returncode:
        raise SystemExit(f"torch cannot tell what hardware there is: {asked.stderr.strip().rpartition(chr(10))[2]}")
    return json.loads(asked.stdout)


def precision(gpus: Sequence[dict[str, Any]]) -> list[str]:
    """The option for the number format that all these GPUs multiply fast, as a list: bf16, fp16, or none."""
    slowest = min((gpu["capability"] for gpu in gpus), default=[0, 0])
    if slowest >= [8, 0]:  # torch also emulates bf16 on older chips, slowly
        return ["--bf16"]
    return ["--fp16"] if slowest >= [7, 0] else []


def commit(folder: Path) -> dict[str, str | bool | None]:
    """The commit of a checkout, and whether a file that git tracks differs from it; "unknown" outside git."""

    def git(*args: str) -> str:
        return subprocess.run(["git", "-C", folder, *args], capture_output=True, text=True, check=True).stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain", "-uno"))}
    except (OSError, subprocess.CalledProcessError):
        return {"commit": "unknown", "dirty": None}


def packages() -> dict[str, str]:
    """The version of Python and of every installed package; what an interrupted pip left, without a name, is none."""
    named = [(package.metadata.get("Name"), package.version) for package in metadata.distributions()]
    installed = {name: version for name, version in named if name}
    return {"python": platform.python_version(), **dict(sorted(installed.items(), key=lambda item: item[0].lower()))}


def versions(names: Sequence[str]) -> dict[str, str]:
    """The versions of those of these packages that are installed."""
    installed = packages()
    return {name: installed[name] for name in names if name in installed}


if __name__ == "__main__":
    print(json.dumps(hardware()))
