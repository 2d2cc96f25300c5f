"""A trained model as a folder that sret_translate translates with. Only what equals the model is written."""

import contextlib
import json
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional

from fairseq import checkpoint_utils
from torch import nn

from sret_fairseq.errors import require
from sret_fairseq.export import decoder, encoder
from sret_fairseq.export.check import Deviation, deviation
from sret_fairseq.export.graph import OPSET, Weights
from sret_fairseq.export.single_file import single_file
from sret_fairseq.export.text import PIECES, Text, copy_text
from sret_fairseq.model import SretTransformerModel
from sret_fairseq.summary import summary_lines
from sret_fairseq.temporary import beside
from sret_translate.bundle import FORMAT, VERSION, Bundle, checksum

WEIGHTS = "weights.bin"
TOLERANCE = 1e-4


def export(
    checkpoint: str,
    data: str,
    out: str,
    text: Text = PIECES,
    passes: Optional[List[int]] = None,
    int8: bool = False,
) -> Dict[str, Any]:
    """Write a checkpoint as a bundle.

    Args:
        checkpoint: path of a checkpoint of sret_transformer.
        data: the folder of fairseq-preprocess.
        out, text, passes, int8: see ``write``.

    Returns:
        what config.json says.

    Raises:
        SystemExit: the checkpoint cannot be loaded, see patches/reading.py, or not exported.
    """
    overrides = {"data": data, "eval_bleu": False}  # which may need a tokenizer that is not here
    models, _, task = checkpoint_utils.load_model_ensemble_and_task([checkpoint], overrides)
    return write(models[0], task, Path(out), text, passes, int8)


def write(
    model: nn.Module,
    task: Any,
    out: Path,
    text: Text = PIECES,
    passes: Optional[List[int]] = None,
    int8: bool = False,
    training: Optional[Dict[str, Any]] = None,
) -> Dict[str, Any]:
    """Write a model as a bundle, replacing another one.

    Args:
        model: a SretTransformerModel.
        task: its translation task, for the dictionaries.
        out: the folder to write.
        text: how the training's text was prepared.
        passes: which numbers of passes can be chosen when translating; None for that of the model.
        int8: weights in 8 bits.
        training: what else config.json is to say of the training.

    Returns:
        what config.json says.

    Raises:
        OptionError: the model cannot be exported, the text was prepared otherwise, or the graphs do not compute what
            the model does.
    """
    require_exportable(model)
    most = max(model.encoder.passes, model.decoder.passes)
    chosen = sorted(set(passes or [most]), reverse=True)
    require(
        chosen[-1] >= 1 and chosen[0] <= most,
        f"--passes {' '.join(map(str, passes or []))}: the model has 1 to {most}.",
        "export",
    )
    model = model.eval().float().cpu()
    with new_folder(out) as folder:
        (folder / "translate.py").write_text(single_file(), encoding="utf-8")
        for name, dictionary in (("source", task.source_dictionary), ("target", task.target_dictionary)):
            (folder / f"{name}.txt").write_text("\n".join(dictionary.symbols) + "\n", encoding="utf-8", newline="\n")
        config = {
            "format": FORMAT,
            "version": VERSION,
            "opset": OPSET,
            **copy_text(text, folder, task),
            "int8": int8,
            "max_source_positions": model.encoder.max_positions(),
            "max_target_positions": model.decoder.max_positions(),
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "summary": summary_lines(model),
            "training": training or {},
        }
        found = checked_graphs(model, folder, config, chosen, int8=False)
        largest = max(one.largest for one in found)
        require(
            largest <= TOLERANCE,
            f"log-probabilities of the graphs are up to {largest:.2g} from the model's, more than {TOLERANCE}; "
            f"nothing was written. Please report it with the options of the training.",
            "export",
        )
        config["largest_deviation"] = largest
        if int8:
            found = checked_graphs(model, folder, config, chosen, int8=True)
            config["largest_deviation"] = max(one.largest for one in found)
            config["same_best"] = min(one.same_best for one in found)
        write_config(folder, config)
    return config


def require_exportable(model: nn.Module) -> None:
    """Refuse what the graphs cannot express."""
    require(
        isinstance(model, SretTransformerModel),
        f"a {type(model).__name__} cannot be exported; give a checkpoint of sret_transformer.",
        "export",
    )
    require(
        model.decoder.adaptive_softmax is None,
        "a model with --adaptive-softmax-cutoff cannot be exported; train one without it.",
        "export",
    )


def checked_graphs(
    model: nn.Module, folder: Path, config: Dict[str, Any], passes: List[int], int8: bool
) -> List[Deviation]:
    """Write the graphs for each number of passes, the first of which has the plain names, and compare them."""
    weights = Weights(WEIGHTS)
    config["passes"] = {}
    for number in passes:
        infix = "" if number == passes[0] else f".{number}"
        names = [f"encoder{infix}.onnx", f"decoder_step{infix}.onnx"]
        config["passes"][str(number)] = names
        with model.at_passes(number):
            for build, name in zip((encoder.build, decoder.build), names):
                build(model, weights, int8).write(folder / name)
    (folder / WEIGHTS).write_bytes(weights.data)
    write_config(folder, config)
    found = []
    for number in passes:
        bundle = Bundle(str(folder), passes=number)
        with model.at_passes(number):
            found.append(deviation(model, bundle.encoder, bundle.decoder))
    return found


def write_config(folder: Path, config: Dict[str, Any]) -> None:
    """Write config.json, with the checksums of what else is there."""
    files = sorted(path for path in folder.iterdir() if path.name != "config.json")
    config["files"] = {path.name: checksum(path) for path in files}
    (folder / "config.json").write_text(json.dumps(config, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def require_just_a_bundle(folder: Path) -> None:
    """Raise OptionError unless a folder holds a bundle, of any version, and nothing else."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        names = {"config.json", *config["files"]} if config["format"] == FORMAT else None
    except (OSError, ValueError, LookupError, TypeError):
        names = None
    require(names is not None, f"--out {folder} exists and is no bundle; name another.", "export")
    foreign = sorted({path.name for path in folder.iterdir()} - names)
    require(not foreign, f"--out {folder} holds more than its bundle; move away: {', '.join(foreign)}.", "export")


@contextlib.contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A temporary folder that becomes ``out`` once all is written. Only another bundle is replaced, if it is just that.

    What a killed export left beside it goes with the next one.

    Raises:
        OptionError: ``out`` is something else, or cannot be written.
    """
    out = out.resolve()
    empty = not out.exists() or (out.is_dir() and not any(out.iterdir()))
    if not empty:
        require_just_a_bundle(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with beside(str(out), folder=True) as new, beside(str(out), folder=True) as old:
            yield Path(new)
            if out.exists():
                out.rename(old)
            Path(new).rename(out)
    except OSError as error:
        require(False, f"--out {out} cannot be written: {error.strerror or error}.", "export")
