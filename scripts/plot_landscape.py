"""Draw the loss around a checkpoint along two random directions, and write it as CSV.

The directions are filter-normalised (Li et al., Visualizing the Loss Landscape of Neural Nets, NeurIPS 2018): Gaussian,
each row of a weight matrix scaled to the length of the same row of the weights, and zero for biases, LayerNorms and
coefficients. The loss is the negative log-likelihood in bits a token, without label smoothing and dropout. Writes
landscape.png and landscape.csv (alpha, beta, loss). To compare several, draw each into a folder of its own, the last
one --beside the others: its picture has all of them on one scale.
"""

import argparse
import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from common import arguments, command, files, loading, output
from common.progress import duration
from common.words import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Tensors = dict[str, Tensor]

NUMBERS = "landscape.csv"
HEADER = ("alpha", "beta", "loss")


def weight_matrices(model: nn.Module) -> Tensors:
    """Return the parameters that are perturbed, by name; one that several modules share is there once.

    The coefficients of residual connections have two dimensions, (passes, channels), but are no matrix.
    """
    named = model.named_parameters()
    return {name: weight for name, weight in named if weight.dim() > 1 and ".coefficients." not in name}


def random_direction(weights: Tensors, generator: torch.Generator) -> Tensors:
    """Return a Gaussian direction by name: ``d_i <- d_i / |d_i| * |w_i|`` for each row i of each matrix.

    It is drawn on the CPU, so that a seed gives the same direction on every machine.
    """
    direction = {}
    for name, weight in weights.items():
        rows = torch.randn(weight.shape, generator=generator).to(weight.device).flatten(1)
        lengths = weight.detach().flatten(1).norm(dim=1, keepdim=True)
        direction[name] = (rows / rows.norm(dim=1, keepdim=True) * lengths).view_as(weight)
    return direction


@contextlib.contextmanager
def perturbation(weights: Tensors) -> Iterator[Callable[..., None]]:
    """Give a function that sets weights to ``w + sum of step * direction``; afterwards they are w, bit for bit."""
    originals = {name: weight.detach().clone() for name, weight in weights.items()}

    @torch.no_grad()
    def move(*steps_and_directions: tuple[float, Tensors]) -> None:
        for name, weight in weights.items():
            weight.copy_(originals[name])
            for step, direction in steps_and_directions:
                weight.add_(direction[name], alpha=step)

    try:
        yield move
    finally:
        move()


@torch.no_grad()
def loss(model: nn.Module, batches: Sequence[dict[str, Any]]) -> float:
    """Return the negative log-likelihood of the targets in bits a token, over all tokens of the batches."""
    nats, tokens = 0.0, 0
    for batch in batches:
        output = model(**batch["net_input"])
        log_probabilities = model.get_normalized_probs(output, log_probs=True, sample=batch)
        likelihoods = log_probabilities.gather(2, batch["target"].unsqueeze(2)).squeeze(2)
        real = batch["target"].ne(model.decoder.padding_idx)
        nats -= likelihoods[real].double().sum().item()
        tokens += int(real.sum())
    return nats / tokens / math.log(2)


def landscape(model: nn.Module, batches: Sequence[dict[str, Any]], steps: Sequence[float], seed: int) -> np.ndarray:
    """Return the losses at ``w + alpha * d1 + beta * d2``, (alphas, betas), both from ``steps``; w stays as it is."""
    weights = weight_matrices(model)
    generator = torch.Generator().manual_seed(seed)
    first, second = random_direction(weights, generator), random_direction(weights, generator)
    losses = np.empty((len(steps), len(steps)))
    with perturbation(weights) as move, tqdm(total=losses.size, unit="point") as progress:
        for place in np.ndindex(losses.shape):
            alpha, beta = steps[place[0]], steps[place[1]]
            move((alpha, first), (beta, second))
            losses[place] = loss(model, batches)
            progress.update()
    return losses


def draw(landscapes: Mapping[str, tuple[Sequence[float], np.ndarray]]) -> "Figure":
    """Return a figure with a row for each landscape, {name: (steps, losses)}, on one scale: contours and surface."""
    lowest = min(losses.min() for _, losses in landscapes.values())
    highest = max(losses.max() for _, losses in landscapes.values())
    scale = {"cmap": "viridis", "vmin": lowest, "vmax": highest}
    figure = output.new_figure(figsize=(12, 5 * len(landscapes)))
    for row, (name, (steps, losses)) in enumerate(landscapes.items()):
        alphas, betas = np.meshgrid(steps, steps, indexing="ij")
        flat = figure.add_subplot(len(landscapes), 2, 2 * row + 1)
        contours = flat.contour(alphas, betas, losses, levels=np.linspace(lowest, highest, 21), **scale)
        flat.clabel(contours, fontsize=7)
        flat.plot(0, 0, marker="*", color="red", markersize=10)
        title = f"{output.plain(name)}: loss (bits a token), the checkpoint at the star"
        flat.set(xlabel="alpha", ylabel="beta", title=title, aspect="equal")
        surface = figure.add_subplot(len(landscapes), 2, 2 * row + 2, projection="3d")
        surface.plot_surface(alphas, betas, losses, rstride=1, cstride=1, **scale)
        surface.locator_params(nbins=5)
        surface.set(xlabel="alpha", ylabel="beta", zlabel="bits a token", zlim=(lowest, highest))
    return figure


def read(folder: Path) -> tuple[list[float], np.ndarray]:
    """Return the steps and losses of the landscape in a folder, or exit with one sentence."""
    path = folder / NUMBERS
    try:
        with open(path, encoding="utf-8") as file:
            alphas, betas, losses = np.loadtxt(file, delimiter=",", skiprows=1, unpack=True, ndmin=2)
        steps = sorted(set(alphas))
        grid = np.array([(alpha, beta) for alpha in steps for beta in steps])
        if len(steps) < 3 or not np.array_equal(grid, np.stack([alphas, betas], 1)) or not np.isfinite(losses).all():
            raise ValueError("no square grid of losses")
    except OSError as error:
        raise SystemExit(f"--beside: {path} cannot be read: {error.strerror or error}.") from error
    except ValueError as error:
        raise SystemExit(f"--beside: {path} is no landscape of this script; make it again.") from error
    return steps, losses.reshape(len(steps), len(steps))


def check(losses: np.ndarray, span: float) -> None:
    """Exit with one sentence unless a picture can be drawn of the losses."""
    if not np.isfinite(losses).all():
        raise SystemExit(f"--span {span:g}: so far from the checkpoint the loss is no number; give a smaller one.")
    if losses.min() == losses.max():
        raise SystemExit(f"--span {span:g}: so near the checkpoint the loss is everywhere the same; give a larger one.")


def announce(model: nn.Module, batches: Sequence[dict[str, Any]], points: int) -> None:
    """Say how long so many points will take, by the time of one."""
    started = time.monotonic()
    loss(model, batches)
    seconds = (time.monotonic() - started) * points
    sentences = counted(sum(batch["nsentences"] for batch in batches), "sentence")
    print(f"{points:,} points over {sentences}: about {duration(seconds)}", flush=True)


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = loading.parser(__doc__)
    parser.add_argument("--points", type=arguments.at_least(3), default=11, help="of each axis, odd (default: 11)")
    parser.add_argument("--span", type=float, default=1.0, help="alpha and beta go from -SPAN to SPAN (default: 1)")
    parser.add_argument(
        "--max-sentences",
        type=arguments.at_least(1),
        default=100,
        metavar="N",
        help="only the first N sentences (default: 100, which takes minutes on a CPU)",
    )
    parser.add_argument(
        "--beside",
        type=arguments.path,
        nargs="+",
        default=[],
        metavar="FOLDER",
        help="folders of earlier landscapes to draw too, on one scale of colours and heights",
    )
    parser.add_argument("--seed", type=arguments.seed, default=1, help="of the directions (default: 1)")
    args = parser.parse_args()
    if args.points % 2 == 0:
        parser.error(f"--points {args.points}: give an odd number, so that the checkpoint itself is a point.")
    if not 0 < args.span <= torch.finfo(torch.float32).max:
        parser.error(f"--span {args.span}: give a number above 0 that float32 can hold.")
    return args


def main() -> None:
    """Run the command line."""
    args = parse_args()
    files.keep_inputs([folder / NUMBERS for folder in args.beside], [args.out / NUMBERS])
    landscapes = {str(folder): read(folder) for folder in args.beside}
    model, task = loading.load(args.checkpoint, args.data)
    batches = loading.batches(model, task, args.subset, range(args.max_sentences), args.max_tokens)
    output.check_matplotlib()
    with files.results_folder(args.out):
        announce(model, batches, args.points**2)
        steps = [args.span * step / (args.points // 2) for step in range(-(args.points // 2), args.points // 2 + 1)]
        losses = landscape(model, batches, steps, args.seed)
        check(losses, args.span)
        figure = draw({**landscapes, str(args.out): (steps, losses)})
        rows = [(alpha, beta, losses[i, j]) for i, alpha in enumerate(steps) for j, beta in enumerate(steps)]
        output.write_csv(args.out / NUMBERS, HEADER, rows)
        output.save_figure(figure, args.out / "landscape.png")
    sentences = counted(sum(batch["nsentences"] for batch in batches), "sentence")
    centre = losses[args.points // 2, args.points // 2]
    print(f"{centre:.3f} bits a token at the checkpoint, {losses.min():.3f} to {losses.max():.3f} around it, over")
    print(f"{sentences} of {args.subset}. Wrote {args.out}/landscape.png and landscape.csv")


if __name__ == "__main__":
    command.run(main)
