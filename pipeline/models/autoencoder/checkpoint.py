"""The last finished epoch of a training, on disk: a run that was killed goes on from there."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.artifacts import parse_json, publish, read_manifest, write_json
from pipeline.config import TrainingSettings
from pipeline.integrity import read_published
from pipeline.models.store import parse_arrays, save_arrays


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
        """
        finished = sorted(self.folder.glob("epoch-*"))
        if not finished:
            return History()
        latest = finished[-1]
        history = History(**parse_json(latest / "history.json", _read(latest, "history.json")))
        optimizer = _read_arrays(latest, "optimizer.npz")
        if len(optimizer) != len(model.optimizer.variables):
            shutil.rmtree(latest)
            return None
        model.optimizer.load_own_variables(optimizer)
        model.set_weights(list(_read_arrays(latest, "last.npz").values()))
        return history

    def save(self, model: Any, history: History) -> None:
        """Save the epoch just finished, and remove the one before."""
        with publish(self._epoch(history.epochs), {}) as aside:
            weights = {f"{i:04d}": array for i, array in enumerate(model.get_weights())}
            save_arrays(aside / "last.npz", weights)
            optimizer: dict[str, Any] = {}
            model.optimizer.save_own_variables(optimizer)
            save_arrays(aside / "optimizer.npz", optimizer)
            if history.is_best:
                shutil.copyfile(aside / "last.npz", aside / "best.npz")
            else:
                before = _read(self._epoch(history.epochs - 1), "best.npz")
                (aside / "best.npz").write_bytes(before)
            write_json(aside / "history.json", asdict(history))
        for older in sorted(self.folder.glob("epoch-*"))[:-1]:
            shutil.rmtree(older)

    def load_best(self, model: Any, history: History) -> None:
        """Load the weights of the best epoch."""
        best = _read_arrays(self._epoch(history.epochs), "best.npz")
        model.set_weights(list(best.values()))

    def _epoch(self, epochs: int) -> Path:
        return self.folder / f"epoch-{epochs:05d}"


def _read_arrays(folder: Path, name: str) -> dict[str, Any]:
    return parse_arrays(folder / name, _read(folder, name))


def _read(folder: Path, name: str) -> bytes:
    return read_published(folder, read_manifest(folder), name)
