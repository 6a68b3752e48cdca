"""Fit an autoencoder to photos: Adam, the weights of the lowest validation loss kept.

Everything random follows from the seed and the number of the epoch, and each finished epoch is
saved, so a run that was killed and started again ends with the weights of one that was not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config import TrainingSettings
from pipeline.errors import TrainingError
from pipeline.models.autoencoder.batches import batches_of, draw_affine
from pipeline.models.autoencoder.checkpoint import Checkpoint
from pipeline.models.autoencoder.distillation import DistillationTargets, Ids, pairs
from pipeline.models.autoencoder.duration import DurationNote
from pipeline.models.autoencoder.history import History
from pipeline.models.autoencoder.losses import DistillationLoss, PixelLoss, TrainingLoss
from pipeline.models.autoencoder.network import adapt
from pipeline.models.autoencoder.steps import Steps, mean_loss
from pipeline.models.base import U8Batch
from pipeline.models.keras_runtime import (
    deterministic_ops,
    dtype_policy,
    fresh_names_and_seeds,
    keras,
    tf,
)
from pipeline.progress import Progress

_MAX_VARIANCE_PHOTOS = 2000  # more give the same variance


@dataclass(frozen=True)
class Examples:
    """Photos to train or to validate on."""

    photos: U8Batch
    """(n, h, w, 3) uint8."""
    distillation: DistillationTargets | None = None
    """Their targets; both sets of a run have some, or none has."""

    @property
    def targets(self) -> Any:
        """(n, components) float32, or None."""
        return self.distillation and self.distillation.targets


class Fit:
    """One run, in a folder that keeps its last finished epoch.

    `make_network` returns an untrained `keras.Model`: (n, h, w, 3) float32 in 0..1 → the same.
    `hint` is appended if a note warns of a long run, whose time `clock` measures in seconds.

    network, history = Fit("ae", make, training, folder, SILENT).run(Examples(a), Examples(b))
    """

    def __init__(
        self,
        name: str,
        make_network: Callable[[], Any],
        training: TrainingSettings,
        folder: Path,
        progress: Progress,
        *,
        hint: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.make_network = make_network
        self.training = training
        self.checkpoint = Checkpoint(folder)
        self.progress = progress
        self.hint = hint
        self.clock = clock

    def run(self, train: Examples, val: Examples) -> tuple[Any, History]:
        """Return the network with the weights of its best epoch, and the losses of all epochs.

        Raises:
            TrainingError: the loss is not finite.
        """
        with fresh_names_and_seeds(self.training.seed), deterministic_ops():
            batch = self._batch_size(train)
            network, loss, strategy = self._compile(train, batch)
            history = self._resume(loss.model)
            steps = Steps(loss, strategy, self.training, train.targets, val.targets)
            photos = self._photos_per_epoch(train)
            left = self.training.epochs - history.epochs
            duration = DurationNote(
                self.progress.note, self.name, photos, left, hint=self.hint, clock=self.clock
            )
            while not history.is_over(self.training):
                self._run_epoch(steps, strategy, train, val, batch, history, duration)
                self._check_loss(history)
                self.checkpoint.save(loss.model, history)
                self._note_epoch(history, is_distilled=train.distillation is not None)
            self.checkpoint.load_best(loss.model, history)
            with dtype_policy("float32"):
                inference_model = self.make_network()
            inference_model.set_weights(network.get_weights())
            return inference_model, history

    def _batch_size(self, train: Examples) -> int:
        if train.distillation:
            return 2 * max(1, self.training.batch_size // 2)  # a photo and a neighbor of it
        return min(self.training.batch_size, len(train.photos))

    def _photos_per_epoch(self, train: Examples) -> int:
        return len(train.photos) * (2 if train.distillation else 1)

    # --- before the first epoch ------------------------------------------------------------------

    def _compile(self, train: Examples, batch: int) -> tuple[Any, TrainingLoss, Any]:
        """Build the network and its optimizer on every GPU there is, in mixed precision if asked.

        Returns (network, loss, strategy).
        """
        gpus = [device.name for device in tf.config.list_logical_devices("GPU")][:batch]
        if train.distillation:
            gpus = gpus[:1]  # a photo and its neighbor must be on the same GPU
        if self.training.mixed_precision and not gpus:
            self.progress.note(f"{self.name}: no GPU here, so training in single precision")
        is_half = self.training.mixed_precision and gpus
        photos = self._photos_per_epoch(train)
        steps = photos // batch if len(gpus) > 1 else math.ceil(photos / batch)
        strategy = (
            tf.distribute.MirroredStrategy(gpus) if len(gpus) > 1 else tf.distribute.get_strategy()
        )
        with dtype_policy("mixed_float16" if is_half else "float32"), strategy.scope():
            network = self.make_network()
            adapt(network, train.photos)
            loss = self._loss(network, train)
            decay = self.training.weight_decay or None
            optimizer = keras.optimizers.Adam(self._learning_rate(steps), weight_decay=decay)
            loss.model.compile(optimizer=optimizer)
            loss.model.optimizer.build(loss.model.trainable_variables)
        return network, loss, strategy

    def _loss(self, network: Any, train: Examples) -> TrainingLoss:
        settings = self.training.distillation
        if settings is None or train.distillation is None:
            return PixelLoss(network)
        step = max(1, len(train.photos) // _MAX_VARIANCE_PHOTOS)
        sample = train.photos[::step].astype(np.float32) / 255
        variance = max(float(sample.var(axis=0).mean()), 1e-6)
        return DistillationLoss(network, settings, train.targets.shape[1], variance)

    def _learning_rate(self, steps: int) -> Any:
        """A number, or a schedule that rises for half an epoch and falls to 0 along a cosine."""
        rate = self.training.learning_rate
        if self.training.schedule == "constant":
            return rate
        warmup = max(1, steps // 2)
        return keras.optimizers.schedules.CosineDecay(
            0.0,
            decay_steps=max(1, steps * self.training.epochs - warmup),
            warmup_target=rate,
            warmup_steps=warmup,
        )

    def _resume(self, model: Any) -> History:
        history = self.checkpoint.resume(model)
        if history is None:
            self.progress.note(f"{self.name}: begun in another precision, so starting over")
            return History()
        if history.epochs:
            self.progress.note(f"{self.name}: resuming after epoch {history.epochs}")
        return history

    # --- an epoch --------------------------------------------------------------------------------

    def _run_epoch(
        self,
        steps: Steps,
        strategy: Any,
        train: Examples,
        val: Examples,
        batch: int,
        history: History,
        duration: DurationNote,
    ) -> None:
        """Train and validate once on all photos, and append both losses to the history."""
        label = f"{self.name}: epoch {history.epochs + 1}/{self.training.epochs}"
        batches, photos = self._train_batches(train, batch, history.epochs, strategy)
        with self.progress.task(label, photos, "photos") as advance:

            def count_batch(count: int, status: str = "") -> None:
                advance(count, status)
                duration(count)

            history.loss.append(mean_loss(steps.train, batches, count_batch))
            order = _arrange(val, np.arange(len(val.photos)), batch, None)
            history.val_loss.append(mean_loss(steps.validate, batches_of(val.photos, order, batch)))

    def _train_batches(
        self, train: Examples, batch: int, epoch: int, strategy: Any
    ) -> tuple[Any, int]:
        """Shuffle and augment, seeded by the epoch: a resumed run does it in the same way.

        Returns the batches for all devices, and the number of photos in them.
        """
        random = np.random.default_rng([self.training.seed, epoch])
        augment = self.training.augment
        photos = train.photos
        order = random.permutation(len(photos))
        affine = draw_affine(random, len(photos), photos.shape[1], augment)
        order = _arrange(train, order, batch, random)
        batches = batches_of(
            photos,
            order,
            batch,
            affine,
            clean=augment.clean_target,
            # A device without a photo in the last batch would spoil its batch statistics.
            drop_remainder=strategy.num_replicas_in_sync > 1,
        )
        return strategy.experimental_distribute_dataset(batches), len(order)

    def _check_loss(self, history: History) -> None:
        if not math.isfinite(history.loss[-1] + history.val_loss[-1]):
            raise TrainingError(
                f"engines.{self.name}: the loss is no longer a finite number in epoch"
                f" {history.epochs}; lower training.learning_rate"
            )

    def _note_epoch(self, history: History, *, is_distilled: bool) -> None:
        measure = "loss" if is_distilled else "mean squared error"
        self.progress.note(
            f"{self.name}: epoch {history.epochs}: {measure} {history.loss[-1]:.5f},"
            f" validation {history.val_loss[-1]:.5f}"
            + (" (best)" if history.best == history.epochs - 1 else "")
        )


def _arrange(examples: Examples, order: Ids, batch: int, random: np.random.Generator | None) -> Ids:
    """Pair photos with their neighbors if there is distillation."""
    if examples.distillation is None:
        return order
    return pairs(examples.distillation.neighbors, order, batch, random)
