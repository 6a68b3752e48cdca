"""Fit an autoencoder to photos: Adam, the best validation loss kept.

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

from pipeline.artifacts import publish, read_json, write_json
from pipeline.config import TrainingSettings
from pipeline.errors import TrainingError
from pipeline.models.autoencoder.batches import U8Photos, batches_of, transforms_of
from pipeline.models.autoencoder.distillation import Guide, pairs
from pipeline.models.autoencoder.network import adapt
from pipeline.models.autoencoder.objective import Guided, Objective, PixelError
from pipeline.models.base import import_keras, import_tensorflow
from pipeline.models.store import load_arrays, save_arrays
from pipeline.progress import Advance, Progress, ignored

_OnBatch = Callable[..., tuple[Any, Any]]
_MEASURED = 2000  # photos whose variance is taken for that of all


@dataclass
class History:
    """The losses of each finished epoch: without a guide, mean squared errors of pixels in 0..1."""

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

    def run(
        self, seen: U8Photos, unseen: U8Photos, guides: tuple[Guide, Guide] | None = None
    ) -> tuple[Any, History]:
        """Train on `seen` and validate on `unseen`, both (n, h, w, 3) uint8, each with its guide.

        Returns the network with the weights of its best epoch, and the history.

        Raises:
            TrainingError: the loss is not finite.
        """
        keras, tf = import_keras(), import_tensorflow()
        keras.backend.clear_session()
        keras.utils.set_random_seed(self.training.seed)
        tf.config.experimental.enable_op_determinism()
        batch = min(self.training.batch_size, len(seen))
        if guides:
            batch = 2 * max(1, self.training.batch_size // 2)  # a photo and a neighbor of it
        network, objective, strategy = self._compiled(seen, batch, guides)
        trained = objective.trained
        history = self._resume(trained)
        train, validate = _functions(objective, strategy, self.training, guides or (None, None))
        best = self._checkpoint(history.epochs) / "best.npz"
        # Held-out photos are compared with the nearest of their own, the same in each epoch.
        held_out = np.arange(len(unseen))
        if guides:
            held_out = pairs(guides[1], held_out, batch, None)
        while not history.is_over(self.training):
            epoch = history.epochs
            label = f"{self.name}: epoch {epoch + 1}/{self.training.epochs}"
            # Seeded by the epoch: a resumed run shuffles as an undisturbed one.
            random = np.random.default_rng([self.training.seed, epoch])
            order = random.permutation(len(seen))
            augment = self.training.augment
            moves = transforms_of(random, len(seen), seen.shape[1], augment)
            if guides:
                order = pairs(guides[0], order, batch, random)
            with self.progress.task(label, len(order), "photos") as advance:
                # An empty share of a last batch would spoil a device's batch statistics.
                even = strategy.num_replicas_in_sync > 1
                batches = batches_of(
                    seen, order, batch, moves, clean=augment.clean_target, drop_remainder=even
                )
                shared = strategy.experimental_distribute_dataset(batches)
                history.loss.append(_mean(train, shared, advance))
            history.val_loss.append(_mean(validate, batches_of(unseen, held_out, batch), ignored))
            if not math.isfinite(history.loss[-1] + history.val_loss[-1]):
                raise TrainingError(
                    f"engines.{self.name}: the loss is no longer a finite number in epoch"
                    f" {epoch + 1}; lower training.learning_rate"
                )
            best = self._keep(trained, history, best)
            measure = "loss" if guides else "mean squared error"
            self.progress.note(
                f"{self.name}: epoch {epoch + 1}: {measure} {history.loss[-1]:.5f},"
                f" validation {history.val_loss[-1]:.5f}"
                + (" (best)" if history.best == epoch else "")
            )
        trained.set_weights(list(load_arrays(best).values()))
        alone = self.make_network()
        alone.set_weights(network.get_weights())
        return alone, history

    def _compiled(
        self, seen: U8Photos, batch: int, guides: tuple[Guide, Guide] | None
    ) -> tuple[Any, Objective, Any]:
        """Build the network and its optimizer on every GPU there is, in mixed precision if asked.

        Returns (network, objective, strategy).
        """
        keras, tf = import_keras(), import_tensorflow()
        gpus = [device.name for device in tf.config.list_logical_devices("GPU")][:batch]
        if guides:
            gpus = gpus[:1]  # a batch's pairs must not be torn apart
        if self.training.mixed_precision and not gpus:
            self.progress.note(f"{self.name}: no GPU here, so training in single precision")
        half = self.training.mixed_precision and gpus
        several = len(gpus) > 1
        photos = len(seen) * (2 if guides else 1)
        steps = photos // batch if several else math.ceil(photos / batch)
        strategy = tf.distribute.MirroredStrategy(gpus) if several else tf.distribute.get_strategy()
        keras.config.set_dtype_policy("mixed_float16" if half else "float32")
        try:
            with strategy.scope():
                network = self.make_network()
                adapt(network, seen)
                objective = self._objective(network, seen, guides)
                decay = self.training.weight_decay or None
                optimizer = keras.optimizers.Adam(self._learning_rate(steps), weight_decay=decay)
                objective.trained.compile(optimizer=optimizer)
                objective.trained.optimizer.build(objective.trained.trainable_variables)
        finally:
            keras.config.set_dtype_policy("float32")
        return network, objective, strategy

    def _objective(
        self, network: Any, seen: U8Photos, guides: tuple[Guide, Guide] | None
    ) -> Objective:
        settings = self.training.distillation
        if settings is None or guides is None:
            return PixelError(network)
        sample = seen[:: max(1, len(seen) // _MEASURED)].astype(np.float32) / 255
        variance = max(float(sample.var(axis=0).mean()), 1e-6)
        return Guided(network, settings, guides[0].targets.shape[1], variance)

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
    objective: Objective,
    strategy: Any,
    training: TrainingSettings,
    guides: tuple[Guide | None, Guide | None],
) -> tuple[_OnBatch, _OnBatch]:
    """Return two functions of a batch, to train on it and to validate on it.

    Both return the sum over photos of the loss, and the number of photos. Noise is added to what
    the network sees in training, not to what it has to rebuild.
    """
    tf = import_tensorflow()
    model = objective.trained
    # Made here and not in a function below, whose graph would get a copy of them.
    targets = [None if guide is None else tf.convert_to_tensor(guide.targets) for guide in guides]

    def noisy(pixels: Any) -> Any:
        if not training.augment.noise:
            return pixels
        # Stateless, so that a resumed run draws as an undisturbed one.
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        step = tf.cast(model.optimizer.iterations, tf.int64)
        seed = tf.stack(
            [tf.constant(training.seed, tf.int64), step * 4096 + tf.cast(replica, tf.int64)]
        )
        noise = tf.random.stateless_normal(tf.shape(pixels), seed)
        return pixels + training.augment.noise * noise

    def step(shown: Any, photos: Any, rows: Any) -> tuple[Any, Any]:
        count = tf.shape(rows)[0]
        replica = tf.distribute.get_replica_context()
        batch = replica.all_reduce(tf.distribute.ReduceOp.SUM, count)
        with tf.GradientTape() as tape:
            mean = objective.loss(noisy(shown), photos, rows, targets[0], training=True)
            total = mean * tf.cast(count, tf.float32)
            loss = model.optimizer.scale_loss(total / tf.cast(batch, tf.float32))
        gradients = tape.gradient(loss, model.trainable_variables)
        model.optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return total, count

    def train(shown: Any, photos: Any, rows: Any) -> tuple[Any, Any]:
        total, count = strategy.run(step, (shown, photos, rows))
        return strategy.reduce("SUM", total, axis=None), strategy.reduce("SUM", count, axis=None)

    def validate(shown: Any, photos: Any, rows: Any) -> tuple[Any, Any]:
        mean = objective.loss(shown, photos, rows, targets[1], training=False)
        count = tf.shape(rows)[0]
        return mean * tf.cast(count, tf.float32), count

    compiled = {"autograph": False, "reduce_retracing": True}
    return tf.function(train, **compiled), tf.function(validate, **compiled)


def _mean(function: _OnBatch, batches: Iterable[Any], advance: Advance) -> float:
    """Run a function of `_functions` over batches; return the mean loss of a photo."""
    total, count = 0.0, 0
    for batch in batches:
        losses, photos = function(*batch)
        total, count = total + float(losses), count + int(photos)
        advance(int(photos))
    return total / count
