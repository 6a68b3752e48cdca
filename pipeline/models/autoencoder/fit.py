"""Fit an autoencoder to photos: Adam, the weights of the lowest validation loss kept.

Everything random follows from the seed and the number of the epoch, and each finished epoch is
saved, so a run that was killed and started again ends with the weights of one that was not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config import TrainingSettings
from pipeline.errors import TrainingError
from pipeline.models.autoencoder.batches import batches_of, draw_affine, feature_batches
from pipeline.models.autoencoder.checkpoint import Checkpoint, History
from pipeline.models.autoencoder.distillation import DistillationTargets, pairs
from pipeline.models.autoencoder.duration import DurationNote
from pipeline.models.autoencoder.losses import DistillationLoss, PixelLoss, TrainingLoss
from pipeline.models.autoencoder.network import adapt, adapt_to_stem
from pipeline.models.autoencoder.stem import F16Features
from pipeline.models.autoencoder.steps import compile_steps, mean_loss
from pipeline.models.base import Ids, U8Batch
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
    features: F16Features | None = None
    """(n, 2, dim) float16, what a stem gives for them and their mirror images; None without one."""

    @property
    def targets(self) -> Any:
        """(n, components) float32, or None."""
        return self.distillation and self.distillation.targets

    def arrange(self, order: Ids, batch: int, random: np.random.Generator | None = None) -> Ids:
        """Pair photos with their neighbors if there is distillation."""
        if self.distillation is None:
            return order
        return pairs(self.distillation.neighbors, order, batch, random)

    def batches(self, order: Ids, batch: int) -> Any:
        """Batches in this order, of the photos as they are."""
        if self.features is None:
            return batches_of(self.photos, order, batch)
        return feature_batches(self.photos, self.features, order, batch)


@dataclass(frozen=True)
class Fit:
    """One run, in a folder that keeps its last finished epoch.

    network, history = Fit("ae", make, training, folder, SILENT).run(Examples(a), Examples(b))
    """

    name: str
    make_network: Callable[[], Any]
    """Returns an untrained `keras.Model`: (n, h, w, 3) float32 in 0..1 → the same."""
    training: TrainingSettings
    folder: Path
    progress: Progress
    hint: str = ""
    """Appended if a note warns of a long run."""
    clock: Callable[[], float] = time.monotonic
    """Tells the time in seconds."""

    def run(self, train: Examples, val: Examples) -> tuple[Any, History]:
        """Return the network with the weights of its best epoch, and the losses of all epochs.

        Raises:
            TrainingError: the loss is not finite.
        """
        with fresh_names_and_seeds(self.training.seed), deterministic_ops():
            batch = self._batch_size(train)
            network, loss, strategy = self._compile(train, batch)
            checkpoint = Checkpoint(self.folder)
            history = self._resume(checkpoint, loss.model)
            targets = (train.targets, val.targets)
            val_order = val.arrange(np.arange(len(val.photos)), batch)
            val_batches = val.batches(val_order, batch)
            train_step, val_step = compile_steps(
                loss, strategy, self.training, *targets, val_batches.element_spec
            )
            photos = self._photos_per_epoch(train)
            left = self.training.epochs - history.epochs
            duration = DurationNote(
                self.progress.note, self.name, photos, left, hint=self.hint, clock=self.clock
            )
            with self.progress.task(f"{self.name}: training", photos * left, "photos") as advance:
                while not history.is_over(self.training):
                    status = f"epoch {history.epochs + 1}/{self.training.epochs}"
                    batches = self._train_batches(train, batch, history.epochs, strategy)
                    observers = (partial(advance, status=status), duration)
                    history.loss.append(mean_loss(train_step, batches, *observers))
                    history.val_loss.append(mean_loss(val_step, val_batches))
                    self._check_loss(history)
                    checkpoint.save(loss.model, history)
                    self._note_epoch(history, is_distilled=train.distillation is not None)
            checkpoint.load_best(loss.model, history)
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
        strategy = tf.distribute.get_strategy()
        if len(gpus) > 1:
            strategy = tf.distribute.MirroredStrategy(gpus)
        with dtype_policy("mixed_float16" if is_half else "float32"), strategy.scope():
            network = self.make_network()
            if train.features is None:
                adapt(network, train.photos)
            else:
                step = max(1, len(train.photos) // _MAX_VARIANCE_PHOTOS)
                adapt_to_stem(network, train.features[::step, 0].astype(np.float32))
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

    def _resume(self, checkpoint: Checkpoint, model: Any) -> History:
        history = checkpoint.resume(model)
        if history is None:
            self.progress.note(f"{self.name}: begun in another precision, so starting over")
            return History()
        if history.epochs:
            self.progress.note(f"{self.name}: resuming after epoch {history.epochs}")
        return history

    # --- an epoch --------------------------------------------------------------------------------

    def _train_batches(self, train: Examples, batch: int, epoch: int, strategy: Any) -> Any:
        """Batches for all devices, shuffled and augmented.

        They are seeded by the number of the epoch: a resumed run draws the same.
        """
        random = np.random.default_rng([self.training.seed, epoch])
        augment, photos = self.training.augment, train.photos
        order = random.permutation(len(photos))
        if train.features is not None:
            mirrored = random.random(len(photos)) < 0.5 * augment.flip
            arranged = train.arrange(order, batch, random)
            return feature_batches(photos, train.features, arranged, batch, mirrored)
        affine = draw_affine(random, len(photos), photos.shape[1], augment)
        batches = batches_of(
            photos,
            train.arrange(order, batch, random),
            batch,
            affine,
            clean=augment.clean_target,
            # A device without a photo in the last batch would spoil its batch statistics.
            drop_remainder=strategy.num_replicas_in_sync > 1,
        )
        return strategy.experimental_distribute_dataset(batches)

    def _check_loss(self, history: History) -> None:
        if not math.isfinite(history.loss[-1] + history.val_loss[-1]):
            raise TrainingError(
                f"the loss is no longer a finite number in epoch {history.epochs}",
                where=f"engines.{self.name}",
                hint="lower training.learning_rate",
            )

    def _note_epoch(self, history: History, *, is_distilled: bool) -> None:
        measure = "loss" if is_distilled else "mean squared error"
        self.progress.note(
            f"{self.name}: epoch {history.epochs}: {measure} {history.loss[-1]:.5f},"
            f" validation {history.val_loss[-1]:.5f}" + (" (best)" if history.is_best else "")
        )
