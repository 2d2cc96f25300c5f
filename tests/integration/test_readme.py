"""The README's lines for the user's own text, run as they stand."""

import os
import re
import subprocess
import sys

from support.models import REPOSITORY


def test_training_lines_run_as_they_stand(tmp_path):
    """From plain text to a translation: on toy text, in a folder that holds the plugin and the scripts."""
    readme = (REPOSITORY / "README.md").read_text()
    section = readme[readme.index("## Train on your text") :]
    block = re.search(r"```bash no-ci\n(.*?)```", section, re.DOTALL)[1]
    commands = block.replace("\\\n", " ").strip().splitlines()
    assert [command.split()[0] for command in commands] == [
        "python",
        "fairseq-preprocess",
        "fairseq-train",
        "python",
        "fairseq-generate",
        "echo",
    ]
    for name in ("sret_fairseq", "scripts"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    (tmp_path / "text").mkdir()
    for split in ("train", "valid", "test"):
        (tmp_path / "text" / f"{split}.de").write_text("ein kleiner Satz\nnoch einer\n" * 5)
        (tmp_path / "text" / f"{split}.en").write_text("a small sentence\nanother one\n" * 5)
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    # What makes a toy run of it: few updates, and an end for the endless translations of an untrained model.
    limits = {
        "fairseq-train": " --max-epoch 5",
        "fairseq-generate": " --max-len-a 0 --max-len-b 5",
        "echo": " --max-len-a 0 --max-len-b 5",
    }
    for command in commands:
        limit = limits.get(command.split()[0], "")
        run = subprocess.run(
            ["bash", "-c", command + limit],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env=dict(os.environ, PATH=path),
        )
        assert run.returncode == 0, f"{command}\n{run.stderr}"
        if command.startswith("fairseq-generate"):
            assert "Translated 10 sentences" in run.stderr
    assert "\nD-0\t" in run.stdout
