"""A teacher's likeliest words on disk, so that it runs once for each sentence of the training text.

The folder holds, for each token of the target text, K words and their probabilities, and for each sentence a seal: a
checksum of its text and of what is stored for it, written last. A sentence whose seal does not fit was never finished
and is asked for again, so that several processes may fill one folder and may die at any moment.
"""

import contextlib
import fcntl
import hashlib
import json
import logging
import mmap
import os
import zlib
from typing import Callable, Dict, List, Tuple

import numpy as np
import torch
from fairseq import utils
from fairseq.data import LanguagePairDataset
from fairseq.tasks import FairseqTask
from fairseq.tasks.translation import TranslationTask
from numpy.typing import DTypeLike
from torch import Tensor

from sret_fairseq import dictionaries, temporary
from sret_fairseq.errors import OptionError, TrainingError

logger = logging.getLogger(__name__)


def file_digest(path: str) -> str:
    """The SHA-256 of a file."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return hashlib.sha256(content).hexdigest()


def open_array(path: str, dtype: DTypeLike, shape: Tuple[int, ...]) -> np.memmap:
    """An array in a file, with zeros where nothing was written yet.

    Its room on the disk is taken at once: a disk that is full later would kill the process without a word.
    """
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        os.posix_fallocate(file, 0, int(np.prod(shape)) * np.dtype(dtype).itemsize)
    finally:
        os.close(file)
    return np.memmap(path, dtype, "r+", shape=shape)


class TeacherCache:
    """The K likeliest words of a teacher for every token of the training text."""

    def __init__(self, folder: str, paths: List[str], temperature: float, k: int, task: FairseqTask):
        """What the cache belongs to; the folder is opened with the first batch, when the text is loaded.

        Args:
            folder: made if it is missing.
            paths: the teachers' checkpoints.
            temperature: at which the probabilities are taken.
            k: how many words each token has.
            task: the translation task, which holds the text.

        Raises:
            OptionError: the sentences have no numbers of their own, by which they could be found.
        """
        if not isinstance(task, TranslationTask):
            raise OptionError("--teacher-cache needs the sentence pairs of --task translation.")
        if len(utils.split_paths(task.cfg.data)) > 1:
            raise OptionError("--teacher-cache takes one data folder; the sentences of several share their numbers.")
        self.folder, self.paths, self.k, self.task = folder, paths, k, task
        self.settings = {"temperature": temperature, "top-k": k}
        self.padding = task.target_dictionary.pad()
        self.offsets = None

    def targets(self, sample: dict, real: Tensor, ask: Callable) -> Tuple[Tensor, Tensor]:
        """What a teacher says of a training batch, of which ``ask`` is told the sentences that are not stored yet.

        Args:
            sample: a batch, with the numbers of its sentences as ``id`` (B).
            real: (B, T), True for the N tokens of the target that are no padding.
            ask: from ``net_input`` and ``real`` of sentences to words and probabilities of their real tokens.

        Returns:
            words (N, K) and probabilities (N, K) in float32 that sum to 1, both with float16's rounding.

        Raises:
            TrainingError: the folder cannot be used, or belongs to something else.
        """
        if self.offsets is None:
            self.open()
        places = self.places(sample["id"].tolist(), real.sum(dim=1).tolist())
        texts = self.checksums(sample)
        missing = [row for row, place in enumerate(places) if self.seals[place[0]] != self.seal(place, texts[row])]
        if missing:
            rows = torch.tensor(missing, device=real.device)
            inputs = {name: value[rows] for name, value in sample["net_input"].items()}
            longest = inputs["src_tokens"].ne(self.padding).any(dim=0)
            inputs["src_tokens"] = inputs["src_tokens"][:, longest]  # an LSTM takes no padding beyond the longest
            self.store([places[row] for row in missing], [texts[row] for row in missing], *ask(inputs, real[rows]))
        words = np.concatenate([self.words[start:end] for _, start, end in places])
        probabilities = torch.from_numpy(np.concatenate([self.probabilities[start:end] for _, start, end in places]))
        probabilities = probabilities.to(real.device).float()
        return (
            torch.from_numpy(words).to(real.device, torch.long),
            probabilities / probabilities.sum(dim=1, keepdim=True),
        )

    def places(self, numbers: List[int], lengths: List[int]) -> List[Tuple[int, int, int]]:
        """The number of each sentence with the first row of its tokens and the one after the last."""
        starts = [int(self.offsets[number]) for number in numbers]
        if any(start + length > self.offsets[number + 1] for number, start, length in zip(numbers, starts, lengths)):
            raise TrainingError("--teacher-cache: a sentence is longer than its data set says; leave the cache out.")
        return [(number, start, start + length) for number, start, length in zip(numbers, starts, lengths)]

    def checksums(self, sample: dict) -> List[int]:
        """A checksum of each sentence's source and target."""
        sides = [tokens.cpu().numpy() for tokens in (sample["net_input"]["src_tokens"], sample["target"])]
        real = [tokens != self.padding for tokens in sides]
        return [
            zlib.crc32(sides[1][row][real[1][row]].tobytes(), zlib.crc32(sides[0][row][real[0][row]].tobytes()))
            for row in range(len(sides[0]))
        ]

    def seal(self, place: Tuple[int, int, int], text: int) -> int:
        """The checksum of a sentence's text and of what is stored for it; never 0, which means nothing."""
        _, start, end = place
        return zlib.crc32(self.probabilities[start:end], zlib.crc32(self.words[start:end], text)) or 1

    def store(self, places: List[Tuple[int, int, int]], texts: List[int], words: Tensor, probabilities: Tensor) -> None:
        """Keep what a teacher said of sentences, (N, K) each."""
        words, probabilities = words.cpu().numpy(), probabilities.cpu().numpy()
        row = 0
        for place, text in zip(places, texts):
            number, start, end = place
            self.words[start:end] = words[row : row + end - start]
            self.probabilities[start:end] = probabilities[row : row + end - start]
            self.seals[number] = self.seal(place, text)
            row += end - start

    def open(self) -> None:
        """Open the folder, or make it, while no other process does."""
        dataset = self.task.dataset(self.task.cfg.train_subset)
        sizes = dataset.tgt_sizes
        offsets = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
        identity = self.identity(dataset)
        try:
            os.makedirs(self.folder, exist_ok=True)
            with open(os.path.join(self.folder, "lock"), "w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                self.check_identity(identity)
                self.open_arrays(int(offsets[-1]), len(sizes))
                self.write_identity(identity)
        except OSError as error:
            raise TrainingError(f"--teacher-cache {self.folder} cannot be used: {error.strerror}.") from error
        self.offsets = offsets
        logger.info(
            f"sret_soft_distillation: {self.folder} holds {np.count_nonzero(self.seals):,} of {len(sizes):,} sentences"
        )

    def identity(self, dataset: LanguagePairDataset) -> Dict[str, object]:
        """What the stored numbers depend on."""
        return {
            **self.settings,
            "teacher": [[os.path.getsize(path), file_digest(path)] for path in self.paths],
            "source dictionary": dictionaries.digest(self.task.source_dictionary),
            "target dictionary": dictionaries.digest(self.task.target_dictionary),
            "training text": hashlib.sha256(np.ascontiguousarray(dataset.sizes, np.int64)).hexdigest(),
        }

    def check_identity(self, identity: dict) -> None:
        """Raise TrainingError if the folder was made for something else."""
        path = os.path.join(self.folder, "identity.json")
        try:
            with open(path, encoding="utf-8") as file:
                stored = json.load(file)
            different = [name for name, value in identity.items() if stored.get(name) != value]
            teachers = ", ".join(stored.get("names", []))
        except FileNotFoundError:
            return
        except (ValueError, AttributeError, TypeError) as error:
            raise TrainingError(f"{path} is damaged; delete the folder or name another --teacher-cache.") from error
        if different:
            raise TrainingError(
                f"--teacher-cache {self.folder} was made with another {', '.join(different)} (for the teacher "
                f"{teachers}); name another folder, or delete it."
            )

    def open_arrays(self, tokens: int, sentences: int) -> None:
        """Open the three files; a first attempt that fails leaves none of them."""
        shapes = {
            "words": (np.int32, (tokens, self.k)),
            "probabilities": (np.float16, (tokens, self.k)),
            "seals": (np.uint32, (sentences,)),
        }
        files = {name: os.path.join(self.folder, f"{name}.bin") for name in shapes}
        try:
            for name, (dtype, shape) in shapes.items():
                setattr(self, name, open_array(files[name], dtype, shape))
        except OSError:
            if not os.path.exists(os.path.join(self.folder, "identity.json")):
                for file in files.values():
                    with contextlib.suppress(FileNotFoundError):
                        os.remove(file)
            raise

    def write_identity(self, identity: dict) -> None:
        """Write what the folder belongs to, with the teachers' names for the reader, whole or not at all."""
        path = os.path.join(self.folder, "identity.json")
        if not os.path.exists(path):
            with temporary.beside(path) as partial:
                with open(partial, "w", encoding="utf-8") as file:
                    json.dump({**identity, "names": [os.path.basename(name) for name in self.paths]}, file, indent=2)
                os.replace(partial, path)
