"""Draw learning curves of several trainings: BLEU, training loss and validation loss against updates."""

from common import figures

LOSS = "negative log-likelihood (bits a token)"
AXES = {"bleu": ("BLEU", "Validation BLEU"), "train": (LOSS, "Training loss"), "valid": (LOSS, "Validation loss")}


def draw(runs, panels, path):
    """Write a picture of the curves.

    Args:
        runs: ``{name: {quantity: points}}`` with what training_log.curves returns of each training.
        panels: the quantities of each panel, side by side.
        path: of the PNG.
    """
    figure = figures.new(figsize=(8 * len(panels), 5))
    row = figure.subplots(1, len(panels), squeeze=False)
    for axes, quantities in zip(row[0], panels, strict=True):
        alone = len(quantities) == 1
        for index, (name, points) in enumerate(runs.items()):
            for quantity in quantities:
                train_style = {"alpha": 1 if alone else 0.4, "linewidth": 1}
                style = train_style if quantity == "train" else {"marker": "o", "markersize": 3}
                label = figures.plain(name if alone else f"{name}, {quantity}")
                axes.plot(*zip(*points[quantity], strict=True), color=f"C{index}", label=label, **style)
        ylabel, title = AXES[quantities[0]]
        axes.set(xlabel="updates", ylabel=ylabel, title=title if alone else "Learning curves")
        axes.grid(alpha=0.3)
        axes.legend()
    figures.save(figure, path)
