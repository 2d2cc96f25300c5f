"""Draw the learning curves of several systems: training and validation loss against updates."""

import matplotlib

matplotlib.use("Agg")  # a file, not a window
import matplotlib.pyplot as plt


def draw(systems, path):
    """Write a picture of the curves.

    ``systems`` maps a name to what training_log.summarise returns of the training.
    """
    figure, axes = plt.subplots(figsize=(8, 5))
    for index, (name, numbers) in enumerate(systems.items()):
        train, valid = (list(zip(*numbers[split], strict=True)) for split in ("train", "valid"))
        axes.plot(*train, color=f"C{index}", alpha=0.4, linewidth=1, label=f"{name}, train")
        axes.plot(*valid, color=f"C{index}", marker="o", markersize=3, label=f"{name}, valid")
    axes.set(xlabel="updates", ylabel="negative log-likelihood (bits a token)", title="Learning curves")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120, bbox_inches="tight")
    plt.close(figure)
