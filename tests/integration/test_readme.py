"""The README's block for the user's own text, run as it stands, and the README's own limits."""

import argparse
import os
import re
import subprocess
import sys

import pytest

from sret_fairseq import options
from sret_fairseq.criterions import distillation, mixed_depth
from support.models import REPOSITORY

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
# A checkout and an environment, which the tests already run in.
PREPARATION = [
    "git clone . ../translation && cd ../translation",
    "bash scripts/setup.sh && source .venv/bin/activate",
]
# What makes a toy run of it: 3 epochs, of which the first already translates something, since fairseq logs no BLEU of
# empty translations; and an end for the endless translations of a model that has learnt nothing.
LIMITS = {
    "--warmup-updates 4000": "--warmup-updates 1",
    "--max-tokens 4096": "--max-tokens 45",
    "--max-update 50000": "--max-update 50000 --max-epoch 3 --cpu",
    """'{"beam": 5}'""": """'{"beam": 2, "max_len_a": 0, "max_len_b": 5}'""",
    "--batch-size 64": "--batch-size 64 --max-len-a 0 --max-len-b 5",
    "beam=5)": "beam=5, max_len_a=0, max_len_b=5)",
}


@pytest.mark.slow
def test_block_for_own_text_runs_as_it_stands(tmp_path):
    """From plain text to a translation, in a folder beside the text that holds what a checkout does."""
    section = README[README.index("## Train on your own text") :]
    block = re.search(r"```bash no-ci\n(.*?)```", section, re.DOTALL)[1]
    first, second, script = block.split("\n", 2)
    assert [first, second] == PREPARATION
    for long, short in LIMITS.items():
        assert script.count(long) == 1, long
        script = script.replace(long, short)
    checkout = tmp_path / "translation"
    checkout.mkdir()
    for name in ("sret_fairseq", "scripts", "hubconf.py"):
        (checkout / name).symlink_to(REPOSITORY / name)
    text = tmp_path / "text"
    text.mkdir()
    for split in ("train", "valid", "test"):
        (text / f"{split}.de").write_text("ein kleiner Satz\nnoch einer\n" * 5)
        (text / f"{split}.en").write_text("a small sentence\nanother one\n" * 5)
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    run = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=checkout,
        capture_output=True,
        text=True,
        env=dict(os.environ, PATH=path),
    )
    assert run.returncode == 0, run.stderr
    assert "Translated 10 sentences" in run.stderr
    assert "Wrote the average of 3 checkpoints" in run.stdout  # of the 5 that the block asks for
    made = ("checkpoints/checkpoint_best.pt", "train.log", "tensorboard/valid", "curves/curves.png", "averaged.pt")
    assert all((checkout / name).exists() for name in made)
    bleu = [line for line in (checkout / "curves" / "curves.csv").read_text().splitlines() if ",BLEU," in line]
    assert len(bleu) == 3  # so --eval-bleu reached the log, once an epoch


def test_readme_is_short():
    """1,200 words at most outside its code."""
    prose = re.sub(r"^```.*?^```", "", README, flags=re.DOTALL | re.MULTILINE)
    assert len(prose.split()) <= 1200


def test_links_lead_somewhere():
    """In the README, the documents and the examples."""
    pages = [REPOSITORY / "README.md", *(REPOSITORY / "docs").rglob("*.md"), *(REPOSITORY / "examples").rglob("*.md")]
    broken = []
    for page in pages:
        prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
        for target in re.findall(r"\]\(([^)#\s]+)", prose):
            if "://" not in target and not (page.parent / target).exists():
                broken.append(f"{page.relative_to(REPOSITORY)}: {target}")
    assert not broken


def test_the_documents_name_tests_that_exist():
    """Files and functions."""
    tests = list((REPOSITORY / "tests").rglob("test_*.py"))
    known = {path.name for path in tests}
    for path in tests:
        known.update(re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE))
    for page in (REPOSITORY / "docs").rglob("*.md"):
        prose = page.read_text(encoding="utf-8")
        named = set(re.findall(r"\btest_\w+(?:\.py)?", prose))
        assert named <= known, f"{page.name}: {sorted(named - known)}"
        for path in re.findall(r"\b(?:tests|scripts|sret_fairseq|benchmarks|examples)/[\w/.]+\.\w+", prose):
            assert (REPOSITORY / path).exists(), f"{page.name}: {path}"


def test_every_option_is_documented():
    """The model's in options.md, those of the criterions in training.md."""
    parser = argparse.ArgumentParser(add_help=False)
    options.add_args(parser)
    flags = {"options": [action.option_strings[0] for action in parser._actions]}
    flags["training"] = [
        "--" + name.replace("_", "-")
        for config in (distillation.SoftDistillationConfig, mixed_depth.MixedDepthConfig)
        for name in config.__annotations__
    ]
    for page, names in flags.items():
        text = (REPOSITORY / "docs" / f"{page}.md").read_text(encoding="utf-8")
        assert [name for name in names if f"`{name}" not in text] == [], page
