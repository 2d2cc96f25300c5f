"""Draw how the learnable residual coefficients (LRC) of a model developed during its training.

Reads every checkpointE.pt and checkpoint_E_U.pt of a folder. Writes coefficients.csv, one row for each coefficient and
checkpoint, and coefficients.png into the folder --out. A coefficient for each channel is given as the mean over the
channels, with the standard deviation. Nothing but data is read from a checkpoint (torch's weights_only).
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common import arguments, command, files, output
from common.checkpoints import EPOCH_FILE, UPDATE_FILE, load, numbered_checkpoints, package_file, updates_of

# A place is a row of coefficients.py of the package: side, block, pass, sublayer and which of the two.
Lines = dict[Any, dict[int, tuple[float, ...]]]  # {place: {updates: (value,) or (mean, standard deviation)}}

HEADER = ("updates", "side", "block", "pass", "sublayer", "which", "value", "standard deviation")
MEANING = {"c1": "c1, of the stream", "c2": "c2, of the sublayer's output"}
STYLES = {"self_attn": "-", "cross_attn": "--", "ffn": "-.", "nll": ":"}


def checkpoints(folder: Path) -> list[Path]:
    """Return the paths of the numbered checkpoints of a folder, or exit with one sentence."""
    if not folder.is_dir():
        raise SystemExit(f"{folder} is no folder; name the --save-dir of a training.")
    paths = [path for pattern in (EPOCH_FILE, UPDATE_FILE) for _, path in numbered_checkpoints(folder, pattern)]
    if not paths:
        raise SystemExit(
            f"{folder} holds no checkpointE.pt and no checkpoint_E_U.pt; name the --save-dir of a training."
        )
    return paths


def read(path: Path) -> tuple[int, dict[Any, tuple[float, ...]]]:
    """Return the number of updates of a checkpoint, and its coefficients as coefficients.py of the package gives them.

    Raises:
        SystemExit: the checkpoint has not both.
    """
    checkpoint = load(path)
    updates = updates_of(checkpoint, path)
    values = package_file("coefficients.py")["by_place"](checkpoint["model"].items())
    if not values:
        raise SystemExit(
            f"{path} holds no residual coefficients: its model is no sret_transformer, or was trained with "
            f"--residual-coefficients none."
        )
    return updates, values


def development(paths: Sequence[Path]) -> Lines:
    """Return the coefficients of the checkpoints of a run, in the order of the updates."""
    values_at = {}
    for index, path in enumerate(paths, 1):
        print(f"[{index}/{len(paths)}] {path}", flush=True)
        updates, values = read(path)
        if values.keys() != next(iter(values_at.values()), values).keys():
            raise SystemExit(f"{path} has other coefficients than {paths[0]}: name a folder with one training alone.")
        output.name_gaps(path, (number for value in values.values() for number in value))
        values_at[updates] = values
    lines: Lines = {}
    for updates in sorted(values_at):
        for place, value in values_at[updates].items():
            lines.setdefault(place, {})[updates] = value
    return lines


def draw(lines: Lines, path: Path) -> None:
    """Write the picture: a row for each side, a column for c1 and c2; colours tell blocks, styles sublayers."""
    sides, columns = (sorted({place[field] for place in lines}, reverse=not field) for field in (0, 4))
    blocks, passes = (sorted({place[field] for place in lines}) for field in (1, 2))
    markers = {pass_: "." if pass_ == "all" else f"${pass_}$" for pass_ in passes}
    figure = output.new_figure(figsize=(6 * len(columns), 4 * len(sides)), layout="constrained")
    from matplotlib import colormaps  # here, since output.new_figure says it if there is no matplotlib
    from matplotlib.lines import Line2D

    colours = dict(zip(blocks, colormaps["viridis"]([index / len(blocks) for index in range(len(blocks))])))
    grid = figure.subplots(len(sides), len(columns), squeeze=False, sharex=True)
    for side, row in zip(sides, grid, strict=True):
        for which, axes in zip(columns, row, strict=True):
            axes.axhline(1, color="0.7", linewidth=1)
            axes.set(title=f"{side}: {MEANING[which]}", xlabel="updates", ylabel="coefficient")
            axes.grid(alpha=0.3)
    for place, values in lines.items():
        axes = grid[sides.index(place.side)][columns.index(place.which)]
        means = [value[0] for value in values.values()]
        style = {"color": colours[place.block], "linestyle": STYLES[place.sublayer], "marker": markers[place.pass_]}
        axes.plot(list(values), means, linewidth=1, markersize=5, markevery=1 + len(values) // 8, **style)
    legend = [Line2D([], [], color=colours[block], label=f"block {block}") for block in blocks]
    sublayers = [name for name in STYLES if any(place.sublayer == name for place in lines)]
    legend += [Line2D([], [], color="k", linestyle=STYLES[name], label=name) for name in sublayers]
    legend += [
        Line2D([], [], color="k", linestyle="", marker=markers[pass_], label=f"pass {pass_}") for pass_ in passes
    ]
    figure.legend(handles=legend, loc="outside right upper")
    output.save_figure(figure, path)


def rows(lines: Lines) -> list[tuple[Any, ...]]:
    """Return the rows of coefficients.csv, by updates."""
    return [
        (updates, *place, *value, *[""] * (2 - len(value)))
        for updates in sorted({updates for values in lines.values() for updates in values})
        for place, values in lines.items()
        for value in [values.get(updates)]
        if value
    ]


def parse_args() -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", type=arguments.path, metavar="CHECKPOINT_DIR", help="--save-dir of the training")
    parser.add_argument("--out", type=arguments.path, required=True, help="folder to write")
    return parser.parse_args()


def main() -> None:
    """Run the command line."""
    args = parse_args()
    package_file("patches/safe_globals.py")["allow_fairseq_globals"]()
    paths = checkpoints(args.checkpoints)
    output.check_matplotlib()
    with files.results_folder(args.out):
        lines = development(paths)
        output.write_csv(args.out / "coefficients.csv", HEADER, rows(lines))
        draw(lines, args.out / "coefficients.png")
    print(f"Coefficients: {args.out / 'coefficients.png'}\nAll values: {args.out / 'coefficients.csv'}")


if __name__ == "__main__":
    command.run(main)
