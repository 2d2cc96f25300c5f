"""The package sret_translate as one file, for bundles."""

import ast
import importlib.util
from pathlib import Path

MODULES = ("errors", "segmentation", "bundle", "search", "translator", "translate")  # each needs those before it alone
FUTURE = "from __future__ import annotations"  # which has to stand before all else


def single_file() -> str:
    """The modules below one another, without imports of one another; first the command's docstring and __future__."""
    package = Path(importlib.util.find_spec("sret_translate").submodule_search_locations[0])
    doc, bodies = "", []
    for name in MODULES:
        text = (package / f"{name}.py").read_text(encoding="utf-8")
        lines = text.splitlines()
        end = ast.parse(text).body[0].end_lineno
        doc = "\n".join(lines[:end])
        bodies += [line for line in lines[end:] if not line.startswith(("from sret_translate.", FUTURE))]
    return "\n".join([doc, "", FUTURE, *bodies]) + "\n"
