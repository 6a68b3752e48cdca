"""Train an autoencoder: photos → model/<id>/.

The photos are decoded once into a file of pixels, divided into those to train on and those to
validate on, and a model folder with weights, history and pictures is published at the end.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline import images
from pipeline.artifacts import digest, publish, write_json
from pipeline.catalog.catalog import Catalog, Photo
from pipeline.catalog.photos import Prepared, prepare_all
from pipeline.catalog.pixel_files import PixelFile, PixelFolder
from pipeline.config import AutoencoderSettings, DistillationSettings, TrainingSettings
from pipeline.errors import TrainingError
from pipeline.images import ImageLimits
from pipeline.models.autoencoder import network as autoencoder
from pipeline.models.autoencoder import pictures
from pipeline.models.autoencoder.distillation import Guide, Targets
from pipeline.models.autoencoder.fit import Fit
from pipeline.models.base import F32Matrix, save_weights, weights_digest
from pipeline.models.store import RECONSTRUCTION_ERRORS, WEIGHTS, ModelFolder, ModelStore
from pipeline.progress import SILENT, Advance, Progress

U8Hashes = npt.NDArray[np.uint8]
TeacherVectors = Callable[[U8Hashes], F32Matrix]
"""(n, 32) uint8 SHA-256 of photos → (n, dim) float32: another engine's vectors of them."""

_SHOWN = 12  # photos in the picture of reconstructions


def train(
    name: str,
    settings: AutoencoderSettings,
    catalog: Catalog,
    store: ModelStore,
    limits: ImageLimits,
    decoders: int = 2,
    progress: Progress = SILENT,
    *,
    recipe: Mapping[str, Any] | None = None,
    teacher: TeacherVectors | None = None,
) -> ModelFolder:
    """Train on the catalog's photos and publish the model, resuming a run that was killed.

    `recipe` is what the model is known by, if that is more than the settings: its teacher's, whose
    vectors of photos `teacher` returns. The decoded photos stay in a `PixelFolder` beside the
    model, for embedding to use.

    Raises:
        TrainingError: there are too few photos to train and validate on, or the loss is not finite.
    """
    photos = list(catalog.photos())
    training, validation = split(photos, settings.training)
    recipe = recipe or autoencoder.recipe(settings)
    side = (settings.input_size, settings.input_size)
    work = _working_folder(recipe, store)
    if not _holds(work, photos, side):
        shutil.rmtree(work, ignore_errors=True)

    def decoded(part: str, members: list[Photo]) -> PixelFile:
        """Decode one part of the photos into a file, noting in the ledger those that fail."""
        file = PixelFile(work, part, side)
        if not file.is_complete():
            with progress.task(f"{name}: decoding {part} photos", len(members), "photos") as tick:
                prepare = partial(images.resize, size=side, method=settings.resize)
                prepared = prepare_all(members, prepare, limits, decoders, ahead=64)
                for photo, rejected in file.fill(_ticking(prepared, tick)):
                    catalog.fail_photo(photo, rejected.reason)
        return file

    seen, unseen = decoded("training", training), decoded("validation", validation)
    if not len(seen.photos) or not len(unseen.photos):
        raise TrainingError(
            f"{catalog.folder}: {len(photos)} readable photos are too few to train {name} on"
            " some and validate on others; add photos or change training.validation_split"
        )
    make = partial(
        autoencoder.build,
        settings.architecture,
        settings.input_size,
        settings.latent_dim,
        standardize=settings.standardize,
        noise=settings.training.augment.descriptor_noise,
    )
    guides = None
    if settings.training.distillation:
        progress.note(f"{name}: looking at what photos show, to be guided by it")
        guides = _guides(
            settings.training.distillation, seen, unseen, teacher, settings.training.seed
        )
    fit = Fit(name, make, settings.training, work, progress)
    network, history = fit.run(seen.pixels, unseen.pixels, guides)
    weights = weights_digest(network)
    errors = autoencoder.errors(network, unseen.pixels, np.arange(len(unseen.photos)))
    content = {
        "recipe": recipe,
        "embedding": autoencoder.embedding(settings),
        "dim": settings.latent_dim,
        "weights": weights,
        "parameters": int(network.count_params()),
        "epochs": history.epochs,
        "best_epoch": history.best + 1,
        "validation_mse": float(errors[:, 0].mean()),
    }
    folder = store.folder / digest([recipe, weights])
    with publish(folder, content) as aside:
        save_weights(network, aside / WEIGHTS)
        write_json(aside / "history.json", asdict(history))
        np.save(aside / "training.npy", seen.photos, allow_pickle=False)
        np.save(aside / "validation.npy", unseen.photos, allow_pickle=False)
        np.save(
            aside / RECONSTRUCTION_ERRORS,
            np.sort(errors, axis=0).astype(np.float32),
            allow_pickle=False,
        )
        pictures.loss_curve(history.loss, history.val_loss, aside / "loss.png")
        shown = np.asarray(unseen.pixels[:_SHOWN])
        rebuilt = np.asarray(network(shown / np.float32(255), training=False))
        pictures.pairs(shown, np.rint(rebuilt * 255).astype(np.uint8), aside / "photos.png")
    model = store.use(store.open(folder.name))
    PixelFolder(store.folder, side, settings.resize).adopt(work)
    return model


def _guides(
    settings: DistillationSettings,
    seen: PixelFile,
    unseen: PixelFile,
    teacher: TeacherVectors | None,
    seed: int,
) -> tuple[Guide, Guide]:
    """What guides training, and what it is validated by."""
    taught = [None if teacher is None else teacher(file.photos) for file in (seen, unseen)]
    targets = Targets(seen.pixels, taught[0], settings, seed)
    return targets.guide(seen.pixels, taught[0]), targets.guide(unseen.pixels, taught[1])


def remove_unfinished(recipe: Mapping[str, Any], store: ModelStore) -> None:
    """Remove what is left of a run that a finished model has made superfluous."""
    shutil.rmtree(_working_folder(recipe, store), ignore_errors=True)


def _working_folder(recipe: Mapping[str, Any], store: ModelStore) -> Path:
    """Where an unfinished run by this recipe keeps what it needs to go on."""
    return store.folder / f".{digest(dict(recipe))}.training"


def _holds(work: Path, photos: list[Photo], side: tuple[int, int]) -> bool:
    """Whether a run was begun on these photos: then it keeps its own division of them."""
    files = [PixelFile(work, part, side) for part in ("training", "validation")]
    if not all(file.is_complete() for file in files):
        return False
    held = {row.tobytes() for file in files for row in file.photos}
    return held == {photo.sha256 for photo in photos}


def split(photos: list[Photo], training: TrainingSettings) -> tuple[list[Photo], list[Photo]]:
    """Divide photos into those to train on and those to validate on.

    `first` takes the first share for validation, as the article's `ImageDataGenerator` does with
    its `validation_split`. `hash` decides by each photo's content, so that a photo never changes
    sides when others come or go.
    """
    if training.split == "first":
        count = max(1, int(len(photos) * training.validation_split))
        return photos[count:], photos[:count]
    # The photo of the lowest hash is always held out: a small catalog needs one too.
    lowest = min((photo.sha256 for photo in photos), default=b"")
    limit = max(lowest[:8], int(training.validation_split * 2**64).to_bytes(8, "big"))
    held_out = [photo for photo in photos if photo.sha256[:8] <= limit]
    return [photo for photo in photos if photo.sha256[:8] > limit], held_out


def covers(model: ModelFolder, catalog: Catalog, share: float) -> bool:
    """Whether at most `share` of the catalog's photos are new since the model was trained."""
    known = {row.tobytes() for part in ("training", "validation") for row in model.photos(part)}
    photos = [photo.sha256 for photo in catalog.photos()]
    new = sum(photo not in known for photo in photos)
    return new <= share * len(photos)


def _ticking(prepared: Iterable[Prepared], tick: Advance) -> Iterator[Prepared]:
    for one in prepared:
        yield one
        tick(1)
