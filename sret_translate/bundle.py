"""The folder that scripts/export_onnx.py writes, read and checked. Nothing in it can run code."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any, Dict, List

try:
    import numpy as np
    import onnxruntime

    MISSING = ""
except ImportError as error:  # --help needs neither; whoever opens a bundle is told
    np = onnxruntime = None
    MISSING = f"translating needs onnxruntime and numpy ({error}): pip install onnxruntime."

from sret_translate.errors import BundleError, require
from sret_translate.segmentation import segmentation_of, well_formed_text

FORMAT, VERSION = "sret_translate", 2
UNKNOWN = 3  # fairseq's number
CHUNK = 1 << 20


def checksum(path: Path) -> List[int]:
    """The size of a file and its CRC-32."""
    size = crc = 0
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            size, crc = size + len(chunk), zlib.crc32(chunk, crc)
    return [size, crc]


def well_formed(config: Dict[str, Any]) -> bool:
    """Whether a configuration has what is read of it, and names no file but those that it lists."""
    files, passes = config.get("files"), config.get("passes")
    if not (isinstance(files, dict) and isinstance(passes, dict) and passes):
        return False
    lists = [names for number, names in passes.items() if number.isdigit() and isinstance(names, list)]
    graphs = [name for names in lists if [type(name) for name in names] == [str, str] for name in names]
    limits = [config.get(f"max_{side}_positions") for side in ("source", "target")]
    return (
        len(graphs) == 2 * len(passes)
        and all(name in files for name in ["source.txt", "target.txt", *graphs])
        and all(type(limit) is int and limit > 1 for limit in limits)
        and well_formed_text(config)
    )


class Bundle:
    """A bundle: the graphs, how text becomes tokens, and what the training was.

    Args:
        folder: where it lies.
        threads: of onnxruntime for each operator.
        passes: which of the numbers of passes that it holds; None for the most.

    Raises:
        BundleError: it is incomplete, damaged, of another version, or needs an onnxruntime that is newer, or any.
    """

    def __init__(self, folder: str, threads: int = 1, passes: Any = None):
        require(not MISSING, MISSING)
        self.folder = Path(folder)
        self.config = self.read_config()
        self.check_files()
        self.source = self.symbols("source.txt")
        self.target = self.symbols("target.txt")
        self.numbers: Dict[str, int] = {symbol: number for number, symbol in enumerate(self.source)}
        self.segmentation = segmentation_of(self.folder, self.config)
        depths = self.config["passes"]
        self.passes = max(depths, key=int) if passes is None else str(passes)
        held = f"{', '.join(sorted(depths, key=int))} pass{'' if [*depths] == ['1'] else 'es'}"
        require(
            self.passes in depths,
            f"{folder} holds {held}, not {self.passes}; choose one of them, or export it again.",
        )
        self.encoder, self.decoder = (self.session(name, threads) for name in depths[self.passes])

    def read_config(self) -> Dict[str, Any]:
        """What config.json says."""
        path = self.folder / "config.json"
        try:
            config = json.loads(path.read_text(encoding="utf-8"))
            known = isinstance(config, dict) and config.get("format") == FORMAT
        except FileNotFoundError as error:
            raise BundleError(
                f"{self.folder} has no config.json; give the folder that export_onnx.py wrote."
            ) from error
        except (OSError, ValueError) as error:
            raise BundleError(f"{path} cannot be read ({error}); copy the bundle anew.") from error
        require(known, f"{path} is not of a bundle; give the folder that export_onnx.py wrote.")
        version = config.get("version")
        require(
            version == VERSION,
            f"{self.folder} is a bundle of version {version}, and this program reads version {VERSION}; use the "
            f"translate.py in the bundle, or export it again.",
        )
        require(well_formed(config), f"{path} is incomplete or damaged; copy the bundle anew.")
        return config

    def check_files(self) -> None:
        """Compare the checksums."""
        for name, expected in self.config["files"].items():
            require(Path(name).name == name, f"{self.folder}: config.json names a file outside of it: {name}.")
            try:
                actual = checksum(self.folder / name)
            except OSError as error:
                raise BundleError(
                    f"{self.folder / name} is missing ({error.strerror}); copy the bundle anew."
                ) from error
            require(actual == expected, f"{self.folder / name} is damaged; copy the bundle anew.")

    def symbols(self, name: str) -> List[str]:
        """A vocabulary: one symbol a line, in the order of their numbers."""
        return (self.folder / name).read_bytes().decode("utf-8").removesuffix("\n").split("\n")

    def session(self, name: str, threads: int) -> onnxruntime.InferenceSession:
        """A graph, ready to run."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 4  # what is wrong comes as an exception
        try:
            return onnxruntime.InferenceSession(str(self.folder / name), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own classes, which share no other base
            raise BundleError(
                f"onnxruntime {onnxruntime.__version__} cannot load {self.folder / name}, which needs opset "
                f"{self.config.get('opset')}: {str(error).splitlines()[0]}; try pip install --upgrade onnxruntime."
            ) from error

    def encode(self, line: str) -> List[int]:
        """The tokens of a line, without the end of the sentence."""
        return [self.numbers.get(symbol, UNKNOWN) for symbol in self.segmentation.encode(line)]

    def decode(self, tokens: List[int]) -> str:
        """Plain text of tokens of the target."""
        return self.segmentation.decode([self.target[token] for token in tokens])

    def parts(self, tokens: List[int]) -> List[List[int]]:
        """Tokens in parts that the model can read, cut where a word begins if there is such a place."""
        most = self.config["max_source_positions"] - 1  # and the end of the sentence
        parts = []
        while len(tokens) > most:
            begins = [at for at in range(most // 2, most + 1) if self.begins_word(tokens, at)]
            cut = begins[-1] if begins else most
            parts.append(tokens[:cut])
            tokens = tokens[cut:]
        return [*parts, tokens]

    def begins_word(self, tokens: List[int], at: int) -> bool:
        """Whether a word begins at a place, which is not the first."""
        return self.segmentation.begins_word(self.source[tokens[at]], self.source[tokens[at - 1]])
