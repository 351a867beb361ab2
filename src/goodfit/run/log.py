"""The lines of steps.jsonl: losses stay on the device until a stretch of steps is written down."""

from typing import Any

import torch

from goodfit.fit import Step
from goodfit.run.directory import RunDirectory


class Log:
    """Steps on their way to the file: `add` each, `read` them all at once, `flush` to the disk.

    Without a directory, as on all processes but one, nothing is written.
    """

    def __init__(self, directory: RunDirectory | None, per_epoch: float) -> None:
        self.directory, self.per_epoch = directory, per_epoch
        self.pending: list[Step] = []  # on the device
        self.rows: list[dict[str, Any]] = []  # read, not written yet

    def epoch(self, step: int) -> float:
        """How many epochs are through after an update."""
        return step / self.per_epoch

    def add(self, step: Step) -> None:
        self.pending.append(step)

    def read(self, seconds: float, images_per_second: float) -> float:
        """Read the pending steps from the device in one go; their mean loss."""
        losses = torch.stack([s.loss for s in self.pending]).float().tolist()
        norms = torch.stack([s.grad_norm for s in self.pending]).float().tolist()
        for step, loss, norm in zip(self.pending, losses, norms, strict=True):
            self.rows.append(
                {
                    "step": step.number,
                    "epoch": round(self.epoch(step.number), 4),
                    "loss": loss,
                    "lr": step.lr,
                    "grad_norm": norm,
                    "seconds": round(seconds, 3),
                    "images_per_second": round(images_per_second, 1),
                }
            )
        self.pending = []
        return float(sum(losses) / len(losses))

    def flush(self) -> None:
        """Write what was read to steps.jsonl."""
        if self.rows and self.directory is not None:
            self.directory.append("steps.jsonl", self.rows)
        self.rows = []
