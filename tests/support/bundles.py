"""Small models as bundles."""

import argparse
import random
import types
from pathlib import Path
from typing import List, Tuple

import numpy as np
import sentencepiece
import torch
from fairseq.data import Dictionary

from sret_fairseq.export import bundle
from sret_fairseq.model import SretTransformerModel
from sret_translate.search import Found, Settings, search
from support.models import SIZES, Task, build_sret, generate, pad


class BundleTask(Task):
    """What the export reads of a task."""

    def __init__(self):
        super().__init__()
        self.cfg = types.SimpleNamespace(source_lang="de", target_lang="en")


def write_bundle(folder: Path, seed: int = 0, passes=None, int8: bool = False, **options):
    """A small model and its bundle, which reads text in pieces: the words of its dictionary."""
    model = build_sret(seed, **options)
    bundle.write(model, BundleTask(), folder, passes=passes, int8=int8)
    return model


def write_sentencepiece_bundle(folder: Path, passes=None) -> sentencepiece.SentencePieceProcessor:
    """A small model of plain text as ``bundle`` in a folder, and the SentencePiece model of its text beside it."""
    choices = random.Random(1)
    text = [" ".join(choices.choices(["house", "garden", "tree", "blue", "old"], k=6)) for _ in range(60)]
    (folder / "text").write_text("\n".join(text))
    prefix = folder / "pieces"
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "text"), model_prefix=str(prefix), vocab_size=40, hard_vocab_limit=False, minloglevel=2
    )
    pieces = sentencepiece.SentencePieceProcessor(model_file=f"{prefix}.model")
    task, symbols = BundleTask(), Dictionary()
    for number in range(pieces.vocab_size()):
        symbols.add_symbol(pieces.id_to_piece(number))
    task.source_dictionary = task.target_dictionary = symbols
    torch.manual_seed(2)
    model = SretTransformerModel.build_model(argparse.Namespace(**SIZES), task)
    bundle.write(model, task, folder / "bundle", bundle.Text(Path(f"{prefix}.model")), passes)
    return pieces


def both_searches(model, graphs, sources: List[torch.Tensor], batch_size: int, beam: int, **options) -> Tuple:
    """fairseq's hypotheses of all sentences, in one batch, and the bundle's, in batches: two lists of lists."""
    theirs = [
        [Found(one["tokens"].tolist()[:-1], float(one["score"])) for one in hypotheses]
        for hypotheses in generate(model, pad(sources), beam=beam, **options)
    ]
    renamed = {"len_penalty": "lenpen"}
    settings = Settings(beam=beam, max_len_b=12, **{renamed.get(name, name): value for name, value in options.items()})
    ours = []
    for start in range(0, len(sources), batch_size):
        tokens = [source.tolist() for source in sources[start : start + batch_size]]
        ours += search(graphs.encoder, graphs.decoder, tokens, settings, most=100)
    return theirs, ours


def largest_difference(theirs: List[List[Found]], ours: List[List[Found]]) -> float:
    """Of the scores, once the hypotheses are the same."""
    assert [[one.tokens for one in found] for found in ours] == [[one.tokens for one in found] for found in theirs]
    scores = [[one.score for found in side for one in found] for side in (theirs, ours)]
    return float(np.abs(np.subtract(*scores)).max())
