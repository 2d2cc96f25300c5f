"""fairseq's ``--amp`` divides the gradients by the loss's scale twice.

It unscales those of torch's optimizer, to clip them, and steps with its own around that one, of which the scaler does
not know that it has been done. SGD then hardly moves; Adam does, until the scale is so large that its epsilon counts.
"""

from fairseq.optim.amp_optimizer import AMPOptimizer


def step(self: AMPOptimizer) -> None:
    """An update with the optimizer whose gradients were unscaled."""
    self.scaler.step(self.optimizer)
    self.scaler.update()


def unscale_once() -> None:
    """Have it done once, in this process."""
    AMPOptimizer.step = step
