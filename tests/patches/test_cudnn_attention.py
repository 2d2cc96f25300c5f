"""cuDNN's attention is off wherever the plugin is loaded."""

import subprocess
import sys

from support.models import REPOSITORY

PROGRAM = """
import torch
before = torch.backends.cuda.cudnn_sdp_enabled()
import sret_fairseq
print(before, torch.backends.cuda.cudnn_sdp_enabled(), torch.backends.cuda.mem_efficient_sdp_enabled())
"""


def test_the_plugin_switches_it_off():
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM], capture_output=True, text=True, cwd=REPOSITORY
    )
    assert run.stdout.split() == ["True", "False", "True"], run.stderr
