"""Draw the loss around a checkpoint along two random directions, and write it as CSV.

The directions are filter-normalised (Li et al., Visualizing the Loss Landscape of Neural Nets, NeurIPS 2018): Gaussian,
each row of a weight matrix scaled to the length of the same row of the weights, and zero for biases, LayerNorms and
coefficients. The loss is the negative log-likelihood in bits a token, without label smoothing and dropout. Writes
landscape.png and landscape.csv (alpha, beta, loss).
"""

import argparse
import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from common import arguments, command, loading, output

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Tensors = dict[str, Tensor]

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


def draw(steps: Sequence[float], losses: np.ndarray) -> "Figure":
    """Return a figure of contours, the checkpoint in their middle, beside the surface."""
    alphas, betas = np.meshgrid(steps, steps, indexing="ij")
    figure = output.new_figure(figsize=(12, 5))
    flat = figure.add_subplot(1, 2, 1)
    contours = flat.contour(alphas, betas, losses, levels=20, cmap="viridis")
    flat.clabel(contours, fontsize=7)
    flat.plot(0, 0, marker="*", color="red", markersize=10)
    flat.set(xlabel="alpha", ylabel="beta", title="loss (bits a token), the checkpoint at the star", aspect="equal")
    surface = figure.add_subplot(1, 2, 2, projection="3d")
    surface.plot_surface(alphas, betas, losses, cmap="viridis", rstride=1, cstride=1)
    surface.locator_params(nbins=5)
    surface.set(xlabel="alpha", ylabel="beta", zlabel="bits a token")
    return figure


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = loading.parser(__doc__)
    parser.add_argument("--points", type=arguments.at_least(3), default=21, help="of each axis, odd (default: 21)")
    parser.add_argument("--span", type=float, default=1.0, help="alpha and beta go from -SPAN to SPAN (default: 1)")
    parser.add_argument(
        "--max-sentences", type=arguments.at_least(1), metavar="N", help="only the first N sentences (default: all)"
    )
    parser.add_argument("--seed", type=arguments.seed, default=1, help="of the directions (default: 1)")
    args = parser.parse_args()
    if args.points % 2 == 0:
        parser.error(f"--points {args.points}: give an odd number, so that the checkpoint itself is a point.")
    if not 0 < args.span < math.inf:
        parser.error(f"--span {args.span}: give a number above 0.")
    return args


def main() -> None:
    """Run the command line."""
    args = parse_args()
    model, task = loading.load(args.checkpoint, args.data)
    wanted = None if args.max_sentences is None else range(args.max_sentences)
    batches = loading.batches(model, task, args.subset, wanted, args.max_tokens)
    output.picture_folder(args.out)
    steps = [args.span * step / (args.points // 2) for step in range(-(args.points // 2), args.points // 2 + 1)]
    losses = landscape(model, batches, steps, args.seed)
    rows = [(alpha, beta, losses[i, j]) for i, alpha in enumerate(steps) for j, beta in enumerate(steps)]
    output.write_csv(args.out / "landscape.csv", HEADER, rows)
    output.save_figure(draw(steps, losses), args.out / "landscape.png")
    sentences = sum(batch["nsentences"] for batch in batches)
    centre = losses[args.points // 2, args.points // 2]
    print(f"{centre:.3f} bits a token at the checkpoint, {losses.min():.3f} to {losses.max():.3f} around it, over")
    print(f"{sentences} sentences of {args.subset}. Wrote {args.out}/landscape.png and landscape.csv")


if __name__ == "__main__":
    command.run(main)
