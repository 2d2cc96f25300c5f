"""Translating with a bundle of scripts/export_onnx.py, without torch and fairseq."""

from sret_translate.errors import BundleError
from sret_translate.translator import Hypothesis, Translator

__all__ = ["BundleError", "Hypothesis", "Translator"]
