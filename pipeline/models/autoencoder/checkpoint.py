"""The last finished epoch of a training, on disk: a run that was killed goes on from there."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.artifacts import (
    damaged,
    publish,
    read_json,
    read_manifest,
    sha256_file,
    write_json,
)
from pipeline.config import TrainingSettings
from pipeline.models.store import load_arrays, save_arrays


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

    @property
    def is_best(self) -> bool:
        """Whether the epoch just finished is the best."""
        return self.best == self.epochs - 1

    def is_over(self, training: TrainingSettings) -> bool:
        """Whether all epochs are done, or the last `patience` of them brought no improvement."""
        idle = self.epochs - 1 - self.best if self.epochs else 0
        return self.epochs >= training.epochs or (
            training.patience is not None and idle >= training.patience
        )


class Checkpoint:
    """`<folder>/epoch-00007/`: weights, optimizer, best weights and history after 7 epochs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def resume(self, model: Any) -> History | None:
        """Load the last finished epoch into a compiled `keras.Model`; return its history.

        None if it does not fit the optimizer, because it was trained in another precision; it is
        removed then. An empty history if there is none.

        Raises:
            DamagedArtifactError: a file of it is not what was written.
        """
        finished = sorted(self.folder.glob("epoch-*"))
        if not finished:
            return History()
        _check(finished[-1])
        history = History(**read_json(finished[-1] / "history.json"))
        optimizer = load_arrays(finished[-1] / "optimizer.npz")
        if len(optimizer) != len(model.optimizer.variables):
            shutil.rmtree(finished[-1])
            return None
        model.optimizer.load_own_variables(optimizer)
        model.set_weights(list(load_arrays(finished[-1] / "last.npz").values()))
        return history

    def save(self, model: Any, history: History) -> None:
        """Save the epoch just finished, and remove the one before."""
        with publish(self._best(history.epochs).parent, {}) as aside:
            weights = {f"{i:04d}": array for i, array in enumerate(model.get_weights())}
            save_arrays(aside / "last.npz", weights)
            optimizer: dict[str, Any] = {}
            model.optimizer.save_own_variables(optimizer)
            save_arrays(aside / "optimizer.npz", optimizer)
            best = aside / "last.npz" if history.is_best else self._best(history.epochs - 1)
            shutil.copyfile(best, aside / "best.npz")
            write_json(aside / "history.json", asdict(history))
        for older in sorted(self.folder.glob("epoch-*"))[:-1]:
            shutil.rmtree(older)

    def load_best(self, model: Any, history: History) -> None:
        """Load the weights of the best epoch."""
        model.set_weights(list(load_arrays(self._best(history.epochs)).values()))

    def _best(self, epochs: int) -> Path:
        return self.folder / f"epoch-{epochs:05d}" / "best.npz"


def _check(folder: Path) -> None:
    for name, written in read_manifest(folder)["files"].items():
        if sha256_file(folder / name) != written["sha256"]:
            raise damaged(folder / name, "its content has changed")
