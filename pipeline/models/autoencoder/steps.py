"""One step of training, and of validation, compiled."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from pipeline.config import TrainingSettings
from pipeline.models.autoencoder.losses import TrainingLoss
from pipeline.models.base import F32Matrix
from pipeline.models.keras_runtime import tf

Step = Callable[..., tuple[Any, Any]]
"""A batch of `batches_of` → the sum of its photos' losses, and the number of photos."""


class Steps:
    """Two functions of a batch: `train` also updates the weights, `validate` does not."""

    def __init__(
        self,
        loss: TrainingLoss,
        strategy: Any,
        training: TrainingSettings,
        train_targets: F32Matrix | None,
        val_targets: F32Matrix | None,
    ) -> None:
        self._loss, self._strategy, self._training = loss, strategy, training
        # Tensors, made only once: each graph would get a copy of an array.
        self._train_targets, self._val_targets = (
            None if targets is None else tf.convert_to_tensor(targets)
            for targets in (train_targets, val_targets)
        )
        compiled = {"autograph": False, "reduce_retracing": True}
        self.train: Step = tf.function(self._train, **compiled)
        self.validate: Step = tf.function(self._validate, **compiled)

    def _train(self, *batch: Any) -> tuple[Any, Any]:
        total, count = (
            self._strategy.reduce("SUM", value, axis=None)
            for value in self._strategy.run(self._update, batch)
        )
        return total, count

    def _validate(self, inputs: Any, expected: Any, rows: Any) -> tuple[Any, Any]:
        mean = self._loss(inputs, expected, rows, self._val_targets, training=False)
        count = tf.shape(rows)[0]
        return mean * tf.cast(count, tf.float32), count

    def _update(self, inputs: Any, expected: Any, rows: Any) -> tuple[Any, Any]:
        """Train on one device's share of a batch."""
        model = self._loss.model
        count = tf.shape(rows)[0]
        replica = tf.distribute.get_replica_context()
        batch = replica.all_reduce(tf.distribute.ReduceOp.SUM, count)
        with tf.GradientTape() as tape:
            inputs = self._with_noise(inputs)
            mean = self._loss(inputs, expected, rows, self._train_targets, training=True)
            total = mean * tf.cast(count, tf.float32)
            loss = model.optimizer.scale_loss(total / tf.cast(batch, tf.float32))
        gradients = tape.gradient(loss, model.trainable_variables)
        model.optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return total, count

    def _with_noise(self, pixels: Any) -> Any:
        """Add noise that follows from seed, step and device: a resumed run draws the same."""
        deviation = self._training.augment.noise
        if not deviation:
            return pixels
        device = tf.distribute.get_replica_context().replica_id_in_sync_group
        step = tf.cast(self._loss.model.optimizer.iterations, tf.int64)
        draw = step * 4096 + tf.cast(device, tf.int64)
        seed = tf.stack([tf.constant(self._training.seed, tf.int64), draw])
        return pixels + deviation * tf.random.stateless_normal(tf.shape(pixels), seed)


def mean_loss(step: Step, batches: Iterable[Any], *observers: Callable[[int], None]) -> float:
    """Run a step over batches; return the mean loss of a photo.

    Each of `observers` is told the number of photos of every finished batch.
    """
    total, count = 0.0, 0
    for batch in batches:
        losses, photos = step(*batch)
        total, count = total + float(losses), count + int(photos)
        for observe in observers:
            observe(int(photos))
    return total / count
