"""fairseq answers data that is not whole with a traceback, or on a GPU with an assertion of its kernels, hours later.

So it does for a set that is not there, as after a wrong ``--gen-subset``; for files that were cut off, as by a full
disk; for sides of different lengths; and for words that are not in the dictionary beside them.
"""

import functools
import os
import struct
from typing import Any, Optional

import numpy as np
from fairseq.data import Dictionary, indexed_dataset
from fairseq.data.indexed_dataset import MMapIndexedDataset, data_file_path, index_file_path, infer_dataset_impl
from fairseq.tasks.translation import TranslationTask

from sret_fairseq.errors import OptionError, require

# What an index begins with: the name of the format, its version, the type of the words, how many sentences there are.
HEADER = struct.Struct("<9sQBQ")
A_SENTENCE = np.dtype(np.int32).itemsize + np.dtype(np.int64).itemsize  # its length and its place
ADVICE = "run fairseq-preprocess again."
LENGTHS_DIFFER = "Source and target must contain the same number of examples"  # fairseq's assertion


def check_index(path: str) -> None:
    """Make sure that an index is whole.

    Raises:
        OptionError: it is cut off, or it is that of an empty set, which fairseq cannot read.
    """
    with open(path, "rb") as file:
        header = file.read(HEADER.size)
    whole = len(header) == HEADER.size
    sentences = HEADER.unpack(header)[-1] if whole else 0
    whole = whole and os.path.getsize(path) == HEADER.size + sentences * A_SENTENCE
    require(whole, f"{path} is cut off, or no index of fairseq-preprocess; {ADVICE}", "data")
    require(sentences > 0, f"{path} has no sentence; give fairseq-preprocess a text, or leave this set out.", "data")


def check_words(path: str, index: Any, dictionary: Optional[Dictionary]) -> None:
    """Make sure that the words of a set are those of its index and of the dictionary.

    Raises:
        OptionError: there are fewer or more than the index says, or one that the dictionary has not.
    """
    start, length = index[len(index) - 1]
    size = start + length * np.dtype(index.dtype).itemsize
    require(os.path.getsize(path) == size, f"{path} is cut off, or its .idx is of another text; {ADVICE}", "data")
    if dictionary is not None:
        largest = np.memmap(path, mode="r", dtype=index.dtype).max()
        require(
            largest < len(dictionary),
            f"{path} has word {largest}, but its dictionary only {len(dictionary)} words; {ADVICE}",
            "data",
        )


def check_split(error: Exception, data: str, split: str) -> None:
    """Say in a sentence what fairseq's exception for a set says, if it is one of those.

    Raises:
        OptionError: the sentence.
    """
    if isinstance(error, FileNotFoundError) and str(error).startswith("Dataset not found"):
        raise OptionError(f"data: {data} has no set {split} for these languages; name another, or {ADVICE}") from error
    if isinstance(error, AssertionError) and str(error) == LENGTHS_DIFFER:
        sentence = f"data: the two sides of {split} in {data} have different numbers of sentences; {ADVICE}"
        raise OptionError(sentence) from error


def check_sets() -> None:
    """Have every set looked at before it is read, in this process."""
    make = indexed_dataset.make_dataset
    if hasattr(make, "__wrapped__"):
        return

    @functools.wraps(make)
    def make_dataset(
        path: str, impl: str, fix_lua_indexing: bool = False, dictionary: Optional[Dictionary] = None
    ) -> Any:
        index, words = index_file_path(path), data_file_path(path)
        # A file that is cut off at its very beginning has no format; fairseq's old ones are left to it.
        if os.path.isfile(index) and os.path.isfile(words) and infer_dataset_impl(path) in ("mmap", None):
            check_index(index)
            check_words(words, MMapIndexedDataset.Index(index), dictionary)
        return make(path, impl, fix_lua_indexing, dictionary)

    load = TranslationTask.load_dataset

    @functools.wraps(load)
    def load_dataset(self: TranslationTask, split: str, *args: Any, **kwargs: Any) -> None:
        try:
            load(self, split, *args, **kwargs)
        except (FileNotFoundError, AssertionError) as error:
            check_split(error, self.cfg.data, split)
            raise

    indexed_dataset.make_dataset = make_dataset
    TranslationTask.load_dataset = load_dataset
