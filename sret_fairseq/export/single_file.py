"""The package sret_translate as one file, for bundles."""

import ast
import importlib.util
from pathlib import Path

MODULES = ("bundle", "search", "translator", "translate")  # each needs those before it alone


def single_file() -> str:
    """The modules below one another, with the docstring of the command first and without imports of one another."""
    package = Path(importlib.util.find_spec("sret_translate").submodule_search_locations[0])
    doc, bodies = "", []
    for name in MODULES:
        text = (package / f"{name}.py").read_text(encoding="utf-8")
        lines = text.splitlines()
        end = ast.parse(text).body[0].end_lineno
        doc = "\n".join(lines[:end])
        bodies += [line for line in lines[end:] if not line.startswith("from sret_translate.")]
    return "\n".join([doc, *bodies]) + "\n"
