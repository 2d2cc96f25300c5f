"""Make a folder with a trained model that others can translate with, or renew the one that is there.

Writes ``model.pt`` (weights in 16 bits, without the optimizer and without the folders of the machine that trained it),
the dictionaries, ``sentencepiece.model`` and ``scores.json``: BLEU and chrF of the test set, translated with just these
files. In ``README.md``, the model card, it replaces what stands between the two marks; the rest is yours to write.
Nothing in the folder changes unless all of it succeeds.
"""

import argparse
import shutil
from datetime import date
from pathlib import Path, PurePath
from typing import Any

from torch import Tensor, nn

from common import arguments, checkpoints, command, files, lines, loading, provenance, scores, translate
from common.words import counted

MARKS = "<!-- written by scripts/publish.py -->", "<!-- until here -->"
PIECES_MODEL = "sentencepiece.model"
GENERATION = ["--beam", "5", "--remove-bpe", "sentencepiece"]


def without_folders(value: Any) -> Any:
    """Options, in dictionaries and Namespaces at any depth, whose paths have become names."""
    if isinstance(value, argparse.Namespace):
        return argparse.Namespace(**without_folders(vars(value)))
    if isinstance(value, dict):
        return {name: without_folders(item) for name, item in value.items()}
    return PurePath(value).name if isinstance(value, str) and "/" in value else value


def in_16_bits(model: dict[str, Tensor], path: Path) -> None:
    """Convert the tensors of a model in place; those that share their numbers go on sharing them.

    Raises:
        SystemExit: a number is not finite, or too large for 16 bits.
    """
    checkpoints.check_finite(model, path)
    converted: dict[tuple, Tensor] = {}
    for name, tensor in model.items():
        if not tensor.is_floating_point():
            continue
        half = converted.setdefault(checkpoints.place_of(tensor), tensor.half())
        if not half.isfinite().all():
            raise SystemExit(f"{path}: {name} holds numbers beyond 65,504, which 16 bits cannot hold; train it anew.")
        model[name] = half


def small(path: Path) -> dict[str, Any]:
    """A checkpoint as it is published."""
    checkpoint = checkpoints.load(path)
    in_16_bits(checkpoint["model"], path)
    checkpoints.drop_training_state(checkpoint)
    checkpoint["extra_state"] = {}
    for name in ("args", "cfg"):
        checkpoint[name] = without_folders(checkpoint.get(name))
    return checkpoint


def measure(folder: Path, data: Path, reference: Path, log: Path) -> dict[str, Any]:
    """Translate the test set with the model of the folder, with fairseq-generate, and score it.

    Only a failure leaves the log, whose name it tells.
    """
    references = list(lines.read_lines(reference))
    translate.generate(data, folder / "model.pt", "test", GENERATION, log)
    hypotheses, _ = scores.read_translations(log, len(references))
    log.unlink()
    found = scores.text_scores(hypotheses, references, reference.suffix.removeprefix("."))
    return {name: {"score": round(score.value, 2), "signature": score.how} for name, score in found.items()}


def describe(model: nn.Module, updates: int, measured: dict[str, Any], reference: Path) -> dict[str, Any]:
    """What scores.json says."""
    from sret_fairseq.summary import summary_lines

    return {
        "summary": summary_lines(model),
        "updates": updates,
        "sentences": sum(1 for _ in lines.read_lines(reference)),
        "generation": " ".join(GENERATION),
        "scores": measured,
        "code": provenance.commit(files.REPOSITORY),
        "versions": provenance.versions(["python", "torch", "fairseq", "ve-fairseq", "sacrebleu", "sentencepiece"]),
        "date": date.today().isoformat(),
    }


def card_table(told: dict[str, Any], size: int) -> str:
    """What scores.json says, as a table of Markdown."""
    rows = [("size of the folder's files", f"{size / 2**20:.1f} MiB")]
    rows += [("model", line.removeprefix("sret_transformer").strip(" :")) for line in told["summary"]]
    rows += [("updates of the training", f"{told['updates']:,}")]
    for name, score in told["scores"].items():
        value = f"**{score['score']:.1f}** (`{score['signature']}`)"
        rows += [(f"{name}, {told['sentences']:,} test sentences", value)]
    return "".join(f"| {name} | {value} |\n" for name, value in [("", ""), ("---", "---"), *rows])


def card(path: Path, table: str) -> str:
    """A model card with the table between the marks; a card of the marks alone where there is none yet.

    Raises:
        SystemExit: the card has no marks.
    """
    text = path.read_text(encoding="utf-8") if path.exists() else "\n".join(MARKS)
    before, first, rest = text.partition(MARKS[0])
    _, second, after = rest.partition(MARKS[1])
    if not (first and second):
        raise SystemExit(f"{path} lacks the lines {MARKS[0]} and {MARKS[1]}, between which the table goes; add them.")
    return f"{before}{first}\n\n{table}\n{second}{after}"


def check(args: argparse.Namespace) -> None:
    """Exit with one sentence, before the work, if a file is missing, would be overwritten or is of something else."""
    for option, path in (("--sentencepiece", args.sentencepiece), ("--reference", args.reference)):
        if not path.is_file():
            raise SystemExit(f"{option}: there is no file {path}.")
    names = ["model.pt", "scores.json", "README.md", PIECES_MODEL, *(path.name for path in dictionaries(args.data))]
    inputs = [args.checkpoint, args.reference]
    if args.sentencepiece.resolve() != (args.out / PIECES_MODEL).resolve():  # a folder is renewed with its own
        inputs.append(args.sentencepiece)
    files.keep_inputs(inputs, [args.out / name for name in names])
    card(args.out / "README.md", "")  # is it fit to take the table?
    model, task = loading.load(args.checkpoint, args.data)
    if not hasattr(model, "at_passes"):
        raise SystemExit(f"{args.checkpoint} holds a {type(model).__name__}; give a checkpoint of sret_transformer.")
    from sret_fairseq.export import text

    text.check_sentencepiece(args.sentencepiece, task.source_dictionary)
    if args.reference.suffix != f".{task.cfg.target_lang}":
        raise SystemExit(
            f"--reference: {args.reference} is not named after the language of the translations, as "
            f"test.{task.cfg.target_lang} is; give the plain target side of the test set."
        )
    given, needed = sum(1 for _ in lines.read_lines(args.reference)), loading.sentences(task, args.data, "test")
    if given != needed:
        raise SystemExit(
            f"--reference: {args.reference} has {counted(given, 'line')}, and the test set of {args.data} "
            f"{counted(needed, 'sentence')}; give the plain target side of that set."
        )


def dictionaries(data: Path) -> list[Path]:
    """Those of a folder of fairseq-preprocess."""
    return sorted(data.glob("dict.*.txt"))


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "checkpoint", type=arguments.path, help="checkpoint of sret_transformer, such as an average of several"
    )
    parser.add_argument("data", type=arguments.path, help="folder of fairseq-preprocess, with the test set")
    parser.add_argument(
        "--sentencepiece", type=arguments.path, required=True, metavar="MODEL", help="SentencePiece model"
    )
    parser.add_argument(
        "--reference",
        type=arguments.path,
        required=True,
        help="plain translations of the test set, named after their language",
    )
    parser.add_argument("--out", type=arguments.path, required=True, metavar="FOLDER", help="the folder to write")
    return parser.parse_args()


def publish(args: argparse.Namespace, folder: Path) -> tuple[dict[str, Any], int]:
    """Write into a folder, which then takes the place of what is in the old one; the scores, and the size in bytes."""
    checkpoint = small(args.checkpoint)
    checkpoints.save(checkpoint, folder / "model.pt")
    for path in dictionaries(args.data):
        shutil.copyfile(path, folder / path.name)
    shutil.copyfile(args.sentencepiece, folder / PIECES_MODEL)
    model, _ = loading.load(folder / "model.pt", folder)
    measured = measure(folder, args.data, args.reference, args.out / "fairseq-generate.log")
    updates = checkpoints.updates_of(checkpoint, args.checkpoint)
    told = describe(model, updates, measured, args.reference)
    files.write_json(folder / "scores.json", told)
    size = sum(path.stat().st_size for path in folder.iterdir())
    (folder / "README.md").write_text(card(args.out / "README.md", card_table(told, size)), encoding="utf-8")
    for path in folder.iterdir():
        path.replace(args.out / path.name)
    return measured, size


def main() -> None:
    """Run the command line."""
    args = parse_args()
    checkpoints.package_file("patches/safe_globals.py")["allow_fairseq_globals"]()
    check(args)
    beside = files.package_file("temporary.py")["beside"]
    with files.results_folder(args.out), beside(str(args.out / "new"), folder=True) as temporary:
        measured, size = publish(args, Path(temporary))
    print(", ".join(f"{name} {score['score']:.2f}" for name, score in measured.items()))
    print(f"Wrote {args.out}: {size / 2**20:.1f} MiB")


if __name__ == "__main__":
    command.run(main)
