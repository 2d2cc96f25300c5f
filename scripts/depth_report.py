"""Translate with the first 1, 2, ... passes of a checkpoint, and report quality and speed by the number of passes.

Prints BLEU and sentences/s of a set of DATA, a folder of fairseq-preprocess, for each number of passes up to all that a
sret_transformer was trained with, so that a depth can be picked for a latency. P passes mean P in the encoder and P in
the decoder; a side that was trained with fewer runs all of its own. Writes depths.json, depths.csv, depths.png and
fairseq-generate's logs.

What is after -- goes to fairseq-generate (default: --beam 5), after --remove-bpe --batch-size 128; with text in pieces
of SentencePiece give -- --beam 5 --remove-bpe sentencepiece, or BLEU is that of the pieces. To use the picked depth:
fairseq-generate ... --model-overrides "{'encoder_recursions': P, 'decoder_recursions': P}".
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import arguments, checkpoints, command, files, output, provenance, scores, translate
from common.words import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIDES = ("encoder", "decoder")
HEADER = ("passes", "virtual depth", "BLEU4", "sentences/s")


def trained_passes(checkpoint: Path) -> dict[str, tuple[int, int]]:
    """The blocks and the passes of each side of a checkpoint, ``{side: (blocks, passes)}``."""
    checkpoints.package_file("patches/safe_globals.py")["allow_fairseq_globals"]()
    cfg = checkpoints.load(checkpoint).get("cfg") or {}
    options = cfg.get("model") or {}
    options = options if isinstance(options, dict) else vars(options)  # fairseq-hydra-train writes a dictionary
    try:
        return {side: (options[f"{side}_layers"], options[f"{side}_recursions"]) for side in SIDES}
    except KeyError as error:
        raise SystemExit(f"{checkpoint} holds no sret_transformer: its options have no {error}.") from error


def chosen(text: str | None, most: int) -> list[int]:
    """The numbers of passes of ``--passes``, all without it, or exit with one sentence."""
    if text is None:
        return list(range(1, most + 1))
    parts = text.split(",")
    if not all(part.isascii() and part.isdigit() and 1 <= int(part) <= most for part in parts):
        raise SystemExit(f"--passes {text}: give numbers from 1 to {most}, separated by commas.")
    return sorted({int(part) for part in parts})


def overrides(sides: Mapping[str, tuple[int, int]], passes: int) -> list[str]:
    """The arguments of fairseq-generate that run so many passes."""
    numbers = {f"{side}_recursions": min(passes, trained) for side, (_, trained) in sides.items()}
    return ["--model-overrides", str(numbers)]


def measure(args: argparse.Namespace, sides: Mapping[str, tuple[int, int]], passes: int) -> dict[str, Any]:
    """BLEU4 and sentences/s with so many passes."""
    print(f"== {counted(passes, 'pass')}", flush=True)
    log = args.out / f"passes{passes}.log"
    generate_args = [*args.generate_args, *overrides(sides, passes)]
    translate.generate(args.data, args.checkpoint, args.subset, generate_args, log)
    text = log.read_text(encoding="utf-8")
    count = sum(line.startswith("D-") for line in text.splitlines())
    bleu = scores.generate_bleu(text)
    if bleu.value is None:
        raise SystemExit(f"{log}: {bleu.how}.")
    depth = sum(blocks * min(passes, trained) for blocks, trained in sides.values())
    return {
        "passes": passes,
        "virtual depth": depth,
        "BLEU4": bleu.value,
        "sentences/s": scores.read_translations(log, count)[1],
    }


def draw(rows: Sequence[Mapping[str, Any]], title: str) -> "Figure":
    """Quality against speed, a point for each depth."""
    figure = output.new_figure(figsize=(6, 4))
    axes = figure.subplots()
    axes.plot([row["sentences/s"] for row in rows], [row["BLEU4"] for row in rows], marker="o")
    for row in rows:
        axes.annotate(f"{row['passes']}", (row["sentences/s"], row["BLEU4"]), textcoords="offset points", xytext=(5, 5))
    axes.set(xlabel="sentences/s", ylabel="BLEU4", title=output.plain(title))
    axes.grid(alpha=0.3)
    return figure


def parse_args(argv: Sequence[str]) -> argparse.Namespace:
    """The command line's options; ``generate_args`` go to fairseq-generate."""
    split = argv.index("--") if "--" in argv else len(argv)
    parser = argparse.ArgumentParser(
        usage="python scripts/depth_report.py CHECKPOINT DATA [OPTIONS] [-- OPTIONS OF FAIRSEQ-GENERATE]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("checkpoint", type=arguments.path, help="a checkpoint of sret_transformer")
    parser.add_argument("data", type=arguments.path, help="a folder of fairseq-preprocess")
    parser.add_argument("--passes", metavar="P1,P2,...", help="only these numbers of passes")
    parser.add_argument("--subset", default="test", metavar="NAME", help="part of DATA (default: test)")
    parser.add_argument(
        "--out", type=arguments.path, metavar="DIR", help="folder to write (default: depths beside CHECKPOINT)"
    )
    args = parser.parse_args(argv[:split])
    args.out = args.out or args.checkpoint.parent / "depths"
    args.generate_args = argv[split + 1 :] or ["--beam", "5"]
    return args


def main() -> None:
    """Run the command line."""
    args = parse_args(sys.argv[1:])
    sides = trained_passes(args.checkpoint)
    if not any(args.data.glob(f"{args.subset}.*.idx")):
        raise SystemExit(f"{args.data} has no {args.subset} set; give a folder of fairseq-preprocess, or --subset.")
    numbers = chosen(args.passes, max(passes for _, passes in sides.values()))
    output.picture_folder(args.out)
    rows = [measure(args, sides, passes) for passes in numbers]
    cells = [[str(row[name]) for name in HEADER] for row in rows]
    results = {"checkpoint": str(args.checkpoint), "subset": args.subset, "generate": args.generate_args}
    results.update(depths=rows, hardware=provenance.hardware_asked(), packages=provenance.packages())
    files.write_json(args.out / "depths.json", results)
    output.write_csv(args.out / "depths.csv", HEADER, cells)
    title = f"{args.checkpoint.name}, {args.subset}, by the number of passes"
    output.save_figure(draw(rows, title), args.out / "depths.png")
    print(f"\n{output.markdown([HEADER, *cells])}\n\nAll numbers: {args.out / 'depths.json'}")


if __name__ == "__main__":
    command.run(main)
