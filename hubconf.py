"""Translating from Python: ``torch.hub.load(FOLDER_OF_THIS_FILE, "sret_transformer", source="local", ...)``."""

import os
from pathlib import Path
from typing import Any

dependencies = ["fairseq", "numpy", "torch"]


def sret_transformer(checkpoint: str | Path, data: str | Path, **options: Any) -> Any:
    """A trained sret_transformer, ready to translate.

    Args:
        checkpoint: path of a checkpoint; several of them, joined by ``os.pathsep``, make an ensemble.
        data: the folder of fairseq-preprocess, or any with the two ``dict.*.txt`` of the training.
        options: fairseq's, under the names that checkpoints have, such as ``bpe="sentencepiece"``,
            ``sentencepiece_model=PATH``, ``lenpen=0.6``. They win over those in the checkpoint.

    Returns:
        fairseq's GeneratorHubInterface; ``.translate("A sentence.", beam=5)`` gives the translation, and of a list of
        sentences the list of theirs.

    Raises:
        FileNotFoundError: the checkpoint, the data folder or the SentencePiece model is missing.
        ValueError: what is given does not belong together.
        TypeError: ``beam``, which belongs to ``translate``.
    """
    if "beam" in options:  # fairseq would ignore it: translate has a default of its own
        raise TypeError("beam: give it to translate(sentences, beam=...), not to torch.hub.load.")
    paths = [Path(path).resolve() for path in str(checkpoint).split(os.pathsep)]
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(f"checkpoint: there is no file {path}; give the path of a trained model.")
    folder = Path(data).resolve()
    if not any(folder.glob("dict.*.txt")):
        raise FileNotFoundError(f"data: {folder} is no folder with dict.*.txt; give that of fairseq-preprocess.")

    pieces, in_pieces = options.get("sentencepiece_model"), options.get("bpe") == "sentencepiece"
    if in_pieces and not Path(pieces or "").is_file():
        raise FileNotFoundError(f"sentencepiece_model: there is no file {pieces}; give that of the training's text.")

    # Here, not above: torch.hub reads this file before it says which of the dependencies are missing.
    from sret_fairseq.model import SretTransformerModel

    hub = SretTransformerModel.from_pretrained(
        str(paths[0].parent),
        checkpoint_file=os.pathsep.join(map(str, paths)),
        data_name_or_path=str(folder),
        **options,
    )
    if in_pieces:
        from sret_fairseq.export import text  # which imports onnxruntime where there is one

        text.check_sentencepiece(Path(pieces), hub.task.source_dictionary)
    return hub


def sret_tatoeba_de_en(**options: Any) -> Any:
    """The small German-English model of examples/pretrained/tatoeba_de_en, which that folder's README.md describes.

    Args:
        options: as for ``sret_transformer``.

    Returns:
        fairseq's GeneratorHubInterface; ``.translate("Wo ist der Bahnhof?")`` gives the translation.
    """
    folder = Path(__file__).resolve().parent / "examples" / "pretrained" / "tatoeba_de_en"
    pieces = {"bpe": "sentencepiece", "sentencepiece_model": str(folder / "sentencepiece.model")}
    return sret_transformer(folder / "model.pt", folder, **{**pieces, **options})
