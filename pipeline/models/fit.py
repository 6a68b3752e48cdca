"""Fit an autoencoder to pixels: mean squared error, Adam, the best validation loss kept.

Everything random follows from the seed and the number of the epoch, and each finished epoch is
kept whole, so a run that was killed and started again ends with the weights of one that was not.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config import TrainingSettings
from pipeline.errors import TrainingError
from pipeline.models.base import import_keras, import_tensorflow
from pipeline.models.batches import U8Photos, batches_of, transforms_of
from pipeline.progress import Advance, Progress, ignored
from pipeline.store.artifacts import publish, read_json, write_json
from pipeline.store.models import load_arrays, save_arrays

_OnBatch = Callable[[Any], tuple[Any, Any]]


@dataclass
class History:
    """What each finished epoch measured: mean squared errors of pixels in 0..1."""

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
        """Whether all epochs are done, or `patience` of them brought nothing."""
        idle = self.epochs - 1 - self.best if self.epochs else 0
        return self.epochs >= training.epochs or (
            training.patience is not None and idle >= training.patience
        )


class Fit:
    """One run, in a folder that keeps its last finished epoch.

    `make_network` returns an untrained `keras.Model`: (n, h, w, 3) float32 in 0..1 → the same.
    """

    def __init__(
        self,
        name: str,
        make_network: Callable[[], Any],
        training: TrainingSettings,
        work: Path,
        progress: Progress,
    ) -> None:
        self.name = name
        self.make_network = make_network
        self.training = training
        self.work = work
        self.progress = progress

    def run(self, seen: U8Photos, unseen: U8Photos) -> tuple[Any, History]:
        """Train on `seen` and validate on `unseen`, both (n, h, w, 3) uint8.

        Returns the network with the weights of its best epoch, and the history.

        Raises:
            TrainingError: the loss is not finite.
        """
        keras, tf = import_keras(), import_tensorflow()
        keras.backend.clear_session()
        keras.utils.set_random_seed(self.training.seed)
        tf.config.experimental.enable_op_determinism()
        batch = min(self.training.batch_size, len(seen))
        network, strategy = self._compiled(len(seen), batch)
        history = self._resume(network)
        train, validate = _functions(network, strategy, self.training)
        best = self._checkpoint(history.epochs) / "best.npz"
        while not history.is_over(self.training):
            epoch = history.epochs
            label = f"{self.name}: epoch {epoch + 1}/{self.training.epochs}"
            with self.progress.task(label, len(seen), "photos") as advance:
                # Seeded by the epoch: a resumed run shuffles as an undisturbed one.
                random = np.random.default_rng([self.training.seed, epoch])
                order = random.permutation(len(seen))
                moves = transforms_of(random, len(seen), seen.shape[1], self.training.augment)
                # An empty share of a last batch would spoil a device's batch statistics.
                even = strategy.num_replicas_in_sync > 1
                batches = batches_of(seen, order, batch, moves, drop_remainder=even)
                shared = strategy.experimental_distribute_dataset(batches)
                history.loss.append(_mean(train, shared, advance))
            held_out = batches_of(unseen, np.arange(len(unseen)), batch)
            history.val_loss.append(_mean(validate, held_out, ignored))
            if not math.isfinite(history.loss[-1] + history.val_loss[-1]):
                raise TrainingError(
                    f"engines.{self.name}: the loss is no longer a finite number in epoch"
                    f" {epoch + 1}; lower training.learning_rate"
                )
            best = self._keep(network, history, best)
            self.progress.note(
                f"{self.name}: epoch {epoch + 1}: mean squared error {history.loss[-1]:.5f},"
                f" validation {history.val_loss[-1]:.5f}"
                + (" (best)" if history.best == epoch else "")
            )
        trained = self.make_network()
        trained.set_weights(list(load_arrays(best).values()))
        return trained, history

    def _compiled(self, photos: int, batch: int) -> tuple[Any, Any]:
        """Build the network and its optimizer on every GPU there is, in mixed precision if asked.

        Returns (network, strategy).
        """
        keras, tf = import_keras(), import_tensorflow()
        gpus = [device.name for device in tf.config.list_logical_devices("GPU")][:batch]
        if self.training.mixed_precision and not gpus:
            self.progress.note(f"{self.name}: no GPU here, so training in single precision")
        half = self.training.mixed_precision and gpus
        several = len(gpus) > 1
        steps = photos // batch if several else math.ceil(photos / batch)
        strategy = tf.distribute.MirroredStrategy(gpus) if several else tf.distribute.get_strategy()
        keras.config.set_dtype_policy("mixed_float16" if half else "float32")
        try:
            with strategy.scope():
                network = self.make_network()
                network.compile(optimizer=keras.optimizers.Adam(self._learning_rate(steps)))
                network.optimizer.build(network.trainable_variables)
        finally:
            keras.config.set_dtype_policy("float32")
        return network, strategy

    def _learning_rate(self, steps: int) -> Any:
        """A number, or a schedule that rises for half an epoch and falls to 0 along a cosine."""
        rate = self.training.learning_rate
        if self.training.schedule == "constant":
            return rate
        warmup = max(1, steps // 2)
        return import_keras().optimizers.schedules.CosineDecay(
            0.0,
            decay_steps=max(1, steps * self.training.epochs - warmup),
            warmup_target=rate,
            warmup_steps=warmup,
        )

    # --- the last finished epoch -----------------------------------------------------------------

    def _checkpoint(self, epochs: int) -> Path:
        return self.work / f"epoch-{epochs:05d}"

    def _resume(self, network: Any) -> History:
        """Load the last finished epoch, if any, into the network and its optimizer."""
        finished = sorted(self.work.glob("epoch-*"))
        if not finished:
            return History()
        history = History(**read_json(finished[-1] / "history.json"))
        optimizer = load_arrays(finished[-1] / "optimizer.npz")
        if len(optimizer) != len(network.optimizer.variables):
            self.progress.note(f"{self.name}: begun in another precision, so starting over")
            shutil.rmtree(finished[-1])
            return History()
        network.optimizer.load_own_variables(optimizer)
        network.set_weights(list(load_arrays(finished[-1] / "last.npz").values()))
        self.progress.note(f"{self.name}: resuming after epoch {history.epochs}")
        return history

    def _keep(self, network: Any, history: History, best: Path) -> Path:
        """Keep the epoch just finished (weights, optimizer, best weights) and drop the one before.

        Returns where the best weights are now.
        """
        folder = self._checkpoint(history.epochs)
        with publish(folder, {}) as aside:
            weights = {f"{at:04d}": array for at, array in enumerate(network.get_weights())}
            save_arrays(aside / "last.npz", weights)
            optimizer: dict[str, Any] = {}
            network.optimizer.save_own_variables(optimizer)
            save_arrays(aside / "optimizer.npz", optimizer)
            newest = history.best == history.epochs - 1
            shutil.copyfile(aside / "last.npz" if newest else best, aside / best.name)
            write_json(aside / "history.json", asdict(history))
        for older in sorted(self.work.glob("epoch-*"))[:-1]:
            shutil.rmtree(older)
        return folder / best.name


def _functions(
    network: Any, strategy: Any, training: TrainingSettings
) -> tuple[_OnBatch, _OnBatch]:
    """Return two functions of a batch, to train on it and to validate on it.

    Both return the sum over photos of the mean squared error, and the number of photos. Noise is
    added to what the network sees in training, not to what it has to rebuild.
    """
    tf = import_tensorflow()

    def errors(seen: Any, pixels: Any, *, training: bool) -> Any:
        rebuilt = tf.cast(network(seen, training=training), tf.float32)
        return tf.reduce_sum(tf.reduce_mean(tf.square(rebuilt - pixels), axis=(1, 2, 3)))

    def noisy(pixels: Any) -> Any:
        if not training.augment.noise:
            return pixels
        # Stateless, so that a resumed run draws as an undisturbed one.
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        step = tf.cast(network.optimizer.iterations, tf.int64)
        seed = tf.stack(
            [tf.constant(training.seed, tf.int64), step * 4096 + tf.cast(replica, tf.int64)]
        )
        noise = tf.random.stateless_normal(tf.shape(pixels), seed)
        return pixels + training.augment.noise * noise

    def step(pixels: Any) -> tuple[Any, Any]:
        photos = tf.shape(pixels)[0]
        replica = tf.distribute.get_replica_context()
        batch = replica.all_reduce(tf.distribute.ReduceOp.SUM, photos)
        with tf.GradientTape() as tape:
            total = errors(noisy(pixels), pixels, training=True)
            loss = network.optimizer.scale_loss(total / tf.cast(batch, tf.float32))
        gradients = tape.gradient(loss, network.trainable_variables)
        network.optimizer.apply_gradients(zip(gradients, network.trainable_variables, strict=True))
        return total, photos

    def train(pixels: Any) -> tuple[Any, Any]:
        total, photos = strategy.run(step, (pixels,))
        return strategy.reduce("SUM", total, axis=None), strategy.reduce("SUM", photos, axis=None)

    def validate(pixels: Any) -> tuple[Any, Any]:
        return errors(pixels, pixels, training=False), tf.shape(pixels)[0]

    compiled = {"autograph": False, "reduce_retracing": True}
    return tf.function(train, **compiled), tf.function(validate, **compiled)


def _mean(function: _OnBatch, batches: Iterable[Any], advance: Advance) -> float:
    """Run a function of `_functions` over batches; return the mean error of a photo."""
    total, count = 0.0, 0
    for pixels in batches:
        errors, photos = function(pixels)
        total, count = total + float(errors), count + int(photos)
        advance(int(photos))
    return total / count
