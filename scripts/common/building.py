"""Models of fairseq built from options alone, without data."""

import argparse

from common import command

try:
    from fairseq.data import Dictionary
    from fairseq.models import ARCH_MODEL_REGISTRY
except ImportError as error:
    raise SystemExit(command.missing("fairseq")) from error
from torch import nn


def dictionary(size: int) -> Dictionary:
    """A dictionary of so many symbols, fairseq's four special ones among them; those of one size are equal."""
    result = Dictionary()
    for index in range(size - len(result)):
        result.add_symbol(f"word{index}")
    return result


def task(source_size: int, target_size: int) -> argparse.Namespace:
    """As much of a translation task as building a model needs: dictionaries of these sizes."""
    return argparse.Namespace(source_dictionary=dictionary(source_size), target_dictionary=dictionary(target_size))


def build(args: argparse.Namespace, vocabulary: int) -> nn.Module:
    """The model of the complete options of an architecture, with so many symbols on either side."""
    return ARCH_MODEL_REGISTRY[args.arch].build_model(args, task(vocabulary, vocabulary))
