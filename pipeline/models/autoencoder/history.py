"""The losses of a training, epoch by epoch."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from pipeline.config import TrainingSettings


@dataclass
class History:
    """The losses of each finished epoch: without distillation, mean squared errors of pixels."""

    loss: list[float] = field(default_factory=list)
    val_loss: list[float] = field(default_factory=list)

    @property
    def epochs(self) -> int:
        """How many epochs are finished."""
        return len(self.val_loss)

    @property
    def best(self) -> int:
        """Index of the epoch with the lowest validation loss."""
        return int(np.argmin(self.val_loss))

    def is_over(self, training: TrainingSettings) -> bool:
        """Whether all epochs are done, or the last `patience` of them brought no improvement."""
        idle = self.epochs - 1 - self.best if self.epochs else 0
        return self.epochs >= training.epochs or (
            training.patience is not None and idle >= training.patience
        )
