"""The curves of a run so far: losses, accuracies and learning rates by step."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Curves:
    """What a training loop has seen.

    steps, losses: train loss, averaged over windows of steps. val_losses: at val_steps.
    total: steps of the whole run, when known. chance: the loss of a net that knows nothing.
    """

    steps: tuple[int, ...] = ()
    losses: tuple[float, ...] = ()
    val_steps: tuple[int, ...] = ()
    val_losses: tuple[float, ...] = ()
    val_accuracies: tuple[float, ...] = ()
    train_accuracies: tuple[float, ...] = ()
    lr: float = 0.0
    peak: float = 0.0
    total: int | None = None
    chance: float | None = None
