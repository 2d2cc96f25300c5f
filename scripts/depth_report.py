"""Translate with the first 1, 2, ... passes of a checkpoint: quality and speed by depth. See depth_report.sh --help."""

import argparse
import sys
from pathlib import Path

from common import checkpoints, figures, files, generated, scores, tables
from common import provenance as surroundings
from common import translate as translation

SIDES = ("encoder", "decoder")
HEADER = ("passes", "virtual depth", "BLEU4", "sentences/s")


def trained_passes(checkpoint):
    """The blocks and the passes of each side of a checkpoint, ``{side: (blocks, passes)}``."""
    checkpoints.package_file("patches/safe_globals.py")["allow_fairseq_globals"]()
    cfg = checkpoints.load(checkpoint).get("cfg") or {}
    options = cfg.get("model") or {}
    options = options if isinstance(options, dict) else vars(options)  # fairseq-hydra-train writes a dictionary
    try:
        return {side: (options[f"{side}_layers"], options[f"{side}_recursions"]) for side in SIDES}
    except KeyError as error:
        raise SystemExit(f"{checkpoint} holds no sret_transformer: its options have no {error}.") from error


def chosen(text, most):
    """The numbers of passes of ``--passes``, all without it, or exit with one sentence."""
    if text is None:
        return list(range(1, most + 1))
    parts = text.split(",")
    if not all(part.isascii() and part.isdigit() and 1 <= int(part) <= most for part in parts):
        raise SystemExit(f"--passes {text}: give numbers from 1 to {most}, separated by commas.")
    return sorted({int(part) for part in parts})


def overrides(sides, passes):
    """The words for fairseq-generate that run so many passes."""
    numbers = {f"{side}_recursions": min(passes, trained) for side, (_, trained) in sides.items()}
    return ["--model-overrides", str(numbers)]


def measure(args, sides, passes):
    """BLEU4 and sentences/s with so many passes."""
    print(f"== {passes} passes", flush=True)
    log = args.out / f"passes{passes}.log"
    options = [*args.generate_words, *overrides(sides, passes)]
    translation.translate(args.data, args.checkpoint, args.subset, options, log)
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
        "sentences/s": generated.read(log, count)[1],
    }


def draw(rows, title):
    """Quality against speed, a point for each depth."""
    figure = figures.new(figsize=(6, 4))
    axes = figure.subplots()
    axes.plot([row["sentences/s"] for row in rows], [row["BLEU4"] for row in rows], marker="o")
    for row in rows:
        axes.annotate(f"{row['passes']}", (row["sentences/s"], row["BLEU4"]), textcoords="offset points", xytext=(5, 5))
    axes.set(xlabel="sentences/s", ylabel="BLEU4", title=figures.plain(title))
    axes.grid(alpha=0.3)
    return figure


def parse_args(words):
    """The command line's options; ``generate_words`` go to fairseq-generate."""
    split = words.index("--") if "--" in words else len(words)
    parser = argparse.ArgumentParser(prog="depth_report.sh", description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--passes")
    parser.add_argument("--subset", default="test")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args(words[:split])
    args.out = args.out or args.checkpoint.parent / "depths"
    args.generate_words = words[split + 1 :] or ["--beam", "5"]
    return args


def main():
    """Run the command line."""
    args = parse_args(sys.argv[1:])
    sides = trained_passes(args.checkpoint)
    if not any(args.data.glob(f"{args.subset}.*.idx")):
        raise SystemExit(f"{args.data} has no {args.subset} set; give a folder of fairseq-preprocess, or --subset.")
    numbers = chosen(args.passes, max(passes for _, passes in sides.values()))
    figures.output_folder(args.out)
    rows = [measure(args, sides, passes) for passes in numbers]
    cells = [[str(row[name]) for name in HEADER] for row in rows]
    results = {"checkpoint": str(args.checkpoint), "subset": args.subset, "generate": args.generate_words}
    results.update(depths=rows, hardware=surroundings.hardware_asked(), packages=surroundings.packages())
    files.write_json(args.out / "depths.json", results)
    figures.write_csv(args.out / "depths.csv", HEADER, cells)
    figures.save(draw(rows, f"{args.checkpoint.name}, {args.subset}, by the number of passes"), args.out / "depths.png")
    print(f"\n{tables.markdown([HEADER, *cells])}\n\nAll numbers: {args.out / 'depths.json'}")


if __name__ == "__main__":
    main()
