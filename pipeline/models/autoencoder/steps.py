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


def compile_steps(
    loss: TrainingLoss,
    strategy: Any,
    training: TrainingSettings,
    train_targets: F32Matrix | None,
    val_targets: F32Matrix | None,
    signature: Any,
) -> tuple[Step, Step]:
    """Return two functions of a batch: the first updates the weights too, the second validates.

    `signature` is what batches of any size are, as TensorFlow writes it (`Dataset.element_spec`).
    """
    model = loss.model
    # Tensors, made only once: each graph would get a copy of an array.
    train_tensor, val_tensor = (
        None if targets is None else tf.convert_to_tensor(targets)
        for targets in (train_targets, val_targets)
    )

    def update(inputs: Any, expected: Any, rows: Any) -> tuple[Any, Any]:
        """Train on one device's share of a batch."""
        count = tf.shape(rows)[0]
        replica = tf.distribute.get_replica_context()
        batch = replica.all_reduce(tf.distribute.ReduceOp.SUM, count)
        with tf.GradientTape() as tape:
            inputs = _with_noise(inputs, training, model.optimizer.iterations)
            mean = loss(inputs, expected, rows, train_tensor, training=True)
            total = mean * tf.cast(count, tf.float32)
            scaled = model.optimizer.scale_loss(total / tf.cast(batch, tf.float32))
        gradients = tape.gradient(scaled, model.trainable_variables)
        model.optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return total, count

    def train(*batch: Any) -> tuple[Any, Any]:
        total, count = strategy.run(update, batch)
        return strategy.reduce("SUM", total, axis=None), strategy.reduce("SUM", count, axis=None)

    def validate(inputs: Any, expected: Any, rows: Any) -> tuple[Any, Any]:
        mean = loss(inputs, expected, rows, val_tensor, training=False)
        count = tf.shape(rows)[0]
        return mean * tf.cast(count, tf.float32), count

    # On one device a graph of batches of any size: the last one, smaller, would take another.
    is_split = strategy.num_replicas_in_sync > 1
    return (
        tf.function(train, autograph=False, input_signature=None if is_split else signature),
        tf.function(validate, autograph=False, input_signature=signature),
    )


def _with_noise(pixels: Any, training: TrainingSettings, iterations: Any) -> Any:
    """Add noise that follows from seed, step and device: a resumed run draws the same."""
    deviation = training.augment.noise
    if not deviation:
        return pixels
    device = tf.distribute.get_replica_context().replica_id_in_sync_group
    draw = tf.cast(iterations, tf.int64) * 4096 + tf.cast(device, tf.int64)
    seed = tf.stack([tf.constant(training.seed, tf.int64), draw])
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
