"""Train an autoencoder: photos → model/<id>/.

Mean squared error, Adam, best validation loss kept, as in the article. Everything random follows
from the seed and the number of the epoch, and each finished epoch is kept whole, so a run that was
killed and started again ends with the weights of one that was not.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline import images, pictures
from pipeline.config import AutoencoderSettings, TrainingSettings
from pipeline.errors import TrainingError
from pipeline.images import ImageLimits
from pipeline.models import autoencoder
from pipeline.models.base import import_keras, import_tensorflow, weights_digest
from pipeline.progress import SILENT, Advance, Progress
from pipeline.store.artifacts import digest, publish, read_json, write_json
from pipeline.store.catalogue import Catalogue, Photo
from pipeline.store.models import WEIGHTS, ModelFolder, ModelStore
from pipeline.store.photos import PixelFile, Prepared, prepare_all

U8Photos = npt.NDArray[np.uint8]
_SHOWN = 12  # photos in the picture of reconstructions


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


def train(
    name: str,
    settings: AutoencoderSettings,
    catalogue: Catalogue,
    store: ModelStore,
    limits: ImageLimits,
    decoders: int = 2,
    progress: Progress = SILENT,
) -> ModelFolder:
    """Train on the catalogue's photos and publish the model, resuming a run that was killed.

    Raises:
        TrainingError: there are too few photos to train and validate on, or the loss is not finite.
    """
    photos = list(catalogue.photos())
    training, validation = split(photos, settings.training)
    recipe = autoencoder.recipe(settings)
    work = store.folder / f".{digest([recipe, [p.sha256.hex() for p in photos]])}.training"

    def decoded(part: str, members: list[Photo]) -> PixelFile:
        """Decode one part of the photos into a file, noting in the ledger those that fail."""
        side = (settings.input_size, settings.input_size)
        file = PixelFile(work, part, side)
        if not file.is_complete():
            with progress.task(f"{name}: decoding {part} photos", len(members), "photos") as tick:
                prepare = partial(images.resize, size=side, method=settings.resize)
                prepared = prepare_all(members, prepare, limits, decoders, ahead=64)
                for photo, rejected in file.fill(_ticking(prepared, tick)):
                    catalogue.fail_photo(photo.sha256, rejected.reason)
        return file

    seen, unseen = decoded("training", training), decoded("validation", validation)
    if not len(seen.photos) or not len(unseen.photos):
        raise TrainingError(
            f"{catalogue.folder}: {len(photos)} readable photos are too few to train {name} on"
            " some and validate on others; add photos or change training.validation"
        )
    run = _Run(name, settings, work, progress)
    network, history = run.fit(seen.pixels, unseen.pixels)
    weights = weights_digest(network)
    content = {
        "recipe": recipe,
        "embedding": autoencoder.embedding(settings),
        "dim": settings.latent,
        "weights": weights,
        "parameters": int(network.count_params()),
        "epochs": history.epochs,
        "best_epoch": history.best + 1,
        "validation_mse": history.val_loss[history.best],
    }
    folder = store.folder / digest([content["embedding"], weights])
    with publish(folder, content) as aside:
        network.save_weights(aside / WEIGHTS)
        write_json(aside / "history.json", asdict(history))
        np.save(aside / "training.npy", seen.photos, allow_pickle=False)
        np.save(aside / "validation.npy", unseen.photos, allow_pickle=False)
        pictures.loss_curve(history.loss, history.val_loss, aside / "loss.png")
        shown = np.asarray(unseen.pixels[:_SHOWN])
        rebuilt = np.asarray(network(shown / np.float32(255), training=False))
        pictures.pairs(shown, np.rint(rebuilt * 255).astype(np.uint8), aside / "photos.png")
    model = store.use(store.open(folder.name))
    shutil.rmtree(work)
    return model


def split(photos: list[Photo], training: TrainingSettings) -> tuple[list[Photo], list[Photo]]:
    """Divide photos into those to train on and those to validate on.

    `first` takes the first share for validation, as Keras's `validation_split` does in the
    article. `hash` decides by each photo's content, so that a photo never changes sides when
    others come or go.
    """
    if training.split == "first":
        count = max(1, int(len(photos) * training.validation))
        return photos[count:], photos[:count]
    # The photo of the lowest hash is always held out: a small catalogue needs one too.
    lowest = min((photo.sha256 for photo in photos), default=b"")
    limit = max(lowest[:8], int(training.validation * 2**64).to_bytes(8, "big"))
    held_out = [photo for photo in photos if photo.sha256[:8] <= limit]
    return [photo for photo in photos if photo.sha256[:8] > limit], held_out


def covers(model: ModelFolder, catalogue: Catalogue, share: float) -> bool:
    """Whether at most `share` of the catalogue's photos are new since the model was trained."""
    known = {row.tobytes() for part in ("training", "validation") for row in model.photos(part)}
    photos = [photo.sha256 for photo in catalogue.photos()]
    new = sum(photo not in known for photo in photos)
    return new <= share * len(photos)


def _ticking(prepared: Iterable[Prepared], tick: Advance) -> Iterator[Prepared]:
    for one in prepared:
        yield one
        tick(1)


class _Run:
    """One training run, in a folder that keeps the last finished epoch."""

    def __init__(
        self, name: str, settings: AutoencoderSettings, work: Path, progress: Progress
    ) -> None:
        self.name = name
        self.settings = settings
        self.training = settings.training
        self.work = work
        self.progress = progress

    def fit(self, seen: U8Photos, unseen: U8Photos) -> tuple[Any, History]:
        """Train to the end; return the network with its best weights, and the history."""
        keras, tf = import_keras(), import_tensorflow()
        keras.backend.clear_session()
        keras.utils.set_random_seed(self.training.seed)
        tf.config.experimental.enable_op_determinism()
        steps = math.ceil(len(seen) / self.training.batch_size)
        network = self._compiled(steps)
        history = self._resume(network)
        best = self._checkpoint(history.epochs) / "best.weights.h5"
        validation = self._batches(unseen, range(len(unseen)))
        while not history.is_over(self.training):
            epoch = history.epochs
            label = f"{self.name}: epoch {epoch + 1}/{self.training.epochs}"
            with self.progress.task(label, len(seen), "photos") as advance:
                # Seeded by the epoch: a resumed run shuffles as an undisturbed one.
                order = np.random.default_rng([self.training.seed, epoch]).permutation(len(seen))
                measured = network.fit(
                    self._batches(seen, order),
                    validation_data=validation,
                    initial_epoch=epoch,
                    epochs=epoch + 1,
                    shuffle=False,
                    verbose=0,
                    callbacks=[_advance(keras, advance, self.training.batch_size)],
                ).history
            history.loss.append(float(measured["loss"][0]))
            history.val_loss.append(float(measured["val_loss"][0]))
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
        network.load_weights(best)
        return network, history

    def _compiled(self, steps: int) -> Any:
        """Build and compile the network on every GPU there is, in mixed precision if asked."""
        keras, tf = import_keras(), import_tensorflow()
        gpus = tf.config.list_logical_devices("GPU")
        half = self.training.mixed_precision and gpus
        if self.training.mixed_precision and not gpus:
            self.progress.note(f"{self.name}: no GPU here, so training in single precision")
        rate: Any = self.training.learning_rate
        if self.training.schedule == "cosine":
            rate = keras.optimizers.schedules.CosineDecay(
                0.0,
                decay_steps=steps * self.training.epochs,
                warmup_target=self.training.learning_rate,
                warmup_steps=steps // 2,
            )
        strategy = (
            tf.distribute.MirroredStrategy() if len(gpus) > 1 else tf.distribute.get_strategy()
        )
        keras.config.set_dtype_policy("mixed_float16" if half else "float32")
        try:
            with strategy.scope():
                network = autoencoder.build(
                    self.settings.architecture, self.settings.input_size, self.settings.latent
                )
                network.compile(optimizer=keras.optimizers.Adam(rate), loss="mse")
                network.optimizer.build(network.trainable_variables)
        finally:
            keras.config.set_dtype_policy("float32")
        return network

    def _batches(self, photos: U8Photos, order: Iterable[int]) -> Any:
        """A `tf.data` pipeline of (pixels, pixels) batches, float32 in 0..1, in this order."""
        tf = import_tensorflow()
        shape = photos.shape[1:]

        def read(indices: Any) -> Any:
            pixels = tf.numpy_function(lambda rows: photos[rows], [indices], tf.uint8)
            pixels = tf.cast(tf.ensure_shape(pixels, (None, *shape)), tf.float32) / 255.0
            return pixels, pixels

        indices = tf.data.Dataset.from_tensor_slices(np.fromiter(order, np.int64))
        return indices.batch(self.training.batch_size).map(read).prefetch(2)

    # --- the last finished epoch -----------------------------------------------------------------

    def _checkpoint(self, epochs: int) -> Path:
        return self.work / f"epoch-{epochs:05d}"

    def _resume(self, network: Any) -> History:
        """Load the last finished epoch, if any, into the network and its optimizer."""
        finished = sorted(self.work.glob("epoch-*"))
        if not finished:
            return History()
        history = History(**read_json(finished[-1] / "history.json"))
        network.load_weights(finished[-1] / "last.weights.h5")
        self.progress.note(f"{self.name}: resuming after epoch {history.epochs}")
        return history

    def _keep(self, network: Any, history: History, best: Path) -> Path:
        """Keep the epoch just finished (weights, optimizer, best weights) and drop the one before.

        Returns where the best weights are now.
        """
        folder = self._checkpoint(history.epochs)
        with publish(folder, {}) as aside:
            network.save_weights(aside / "last.weights.h5")
            newest = history.best == history.epochs - 1
            shutil.copyfile(aside / "last.weights.h5" if newest else best, aside / best.name)
            write_json(aside / "history.json", asdict(history))
        for older in sorted(self.work.glob("epoch-*"))[:-1]:
            shutil.rmtree(older)
        return folder / best.name


def _advance(keras: Any, advance: Advance, batch_size: int) -> Any:
    def end(batch: int, logs: Any = None) -> None:
        advance(batch_size)

    return keras.callbacks.LambdaCallback(on_train_batch_end=end)
