"""Train an autoencoder: photos → model/<id>/.

The photos are decoded once into files of pixels, some to train on and some to validate on, and a
model folder with weights, history and pictures is published at the end.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import images
from pipeline.artifacts import digest, write_json
from pipeline.catalog.catalog import Catalog, Photo
from pipeline.catalog.photos import Prepared, prepare_all
from pipeline.catalog.pixel_files import PixelFile, PixelFolder
from pipeline.config import AutoencoderSettings, TrainingSettings
from pipeline.errors import TrainingError
from pipeline.images import ImageLimits
from pipeline.models.autoencoder import model, network, pictures
from pipeline.models.autoencoder.checkpoint import History
from pipeline.models.autoencoder.examples import TeacherVectors, with_features, with_targets
from pipeline.models.autoencoder.fit import Fit
from pipeline.models.autoencoder.stem import Stem
from pipeline.models.reconstruction import reconstruction_errors, to_uint8
from pipeline.models.runtimes.publish import write_networks
from pipeline.models.store import (
    HISTORY,
    LOSS_PICTURE,
    PHOTOS_PICTURE,
    RECONSTRUCTION_ERRORS,
    WEIGHTS,
    ModelFolder,
    ModelStore,
)
from pipeline.models.weights import save_weights, weights_digest
from pipeline.progress import SILENT, Advance, Progress

_SAMPLE_PHOTOS = 12  # in the picture of reconstructions
_FASTER = "`architecture: strided` is made for machines without a GPU"


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
    stem: Stem | None = None,
) -> ModelFolder:
    """Train on the catalog's photos and publish the model, resuming a run that was killed.

    `recipe` identifies the model; it is that of the settings unless a teacher's is part of it.
    `teacher` returns the teacher's vectors of photos; `stem` are its first layers, for the
    architecture of that name. The decoded photos stay in a `PixelFolder` beside the model, for
    embedding to use.

        model = train("autoencoder", settings, catalog, store, ImageLimits())

    Raises:
        TrainingError: there are too few photos to train and validate on, or the loss is not finite.
    """
    recipe = recipe or model.recipe(settings)
    work = _working_folder(recipe, store)
    train_file, val_file = _decode(name, settings, catalog, work, limits, decoders, progress)
    if not len(train_file.photos) or not len(val_file.photos):
        raise TrainingError(
            f"{catalog.photo_count()} readable photos are too few to train {name} on some and"
            " validate on others",
            where=catalog.folder,
            hint="add photos or change training.validation_split",
        )
    if settings.training.distillation:
        progress.note(f"{name}: computing the targets of distillation")
    sets = with_targets(settings.training, train_file, val_file, teacher)
    train_set, val_set = with_features(name, sets, stem, work, progress)
    make_network = partial(
        network.build,
        settings.architecture,
        settings.input_size,
        settings.latent_dim,
        standardize=settings.standardize,
        noise=settings.training.augment.descriptor_noise,
        stem=stem,
    )
    hint = _FASTER if settings.architecture == "article" else ""
    fit = Fit(name, make_network, settings.training, work, progress, hint=hint)
    trained, history = fit.run(train_set, val_set)
    embedding = model.embedding(settings, stem)
    content = {"recipe": recipe, "embedding": embedding, "dim": settings.latent_dim}
    folder = _publish(content, store, trained, history, train_file, val_file)
    PixelFolder(store.folder, train_file.size, settings.resize).adopt(work)
    return folder


# --- Photos ---------------------------------------------------------------------------------------


def split(photos: list[Photo], training: TrainingSettings) -> tuple[list[Photo], list[Photo]]:
    """Divide photos into those to train on and those to validate on.

    `first` takes the first share for validation, as the article's `ImageDataGenerator` does with
    its `validation_split`. `hash` decides by each photo's content, so that a photo never changes
    sides when others are added or removed.
    """
    if training.split == "first":
        count = max(1, int(len(photos) * training.validation_split))
        return photos[count:], photos[:count]
    # The photo of the lowest hash is always held out: a small catalog needs one too.
    lowest = min((photo.sha256 for photo in photos), default=b"")
    limit = max(lowest[:8], int(training.validation_split * 2**64).to_bytes(8, "big"))
    val = [photo for photo in photos if photo.sha256[:8] <= limit]
    return [photo for photo in photos if photo.sha256[:8] > limit], val


def covers(model: ModelFolder, catalog: Catalog, share: float) -> bool:
    """Whether at most `share` of the catalog's photos are new since the model was trained."""
    used = {row.tobytes() for part in ("training", "validation") for row in model.photos(part)}
    is_new = [photo.sha256 not in used for photo in catalog.photos()]
    return sum(is_new) <= share * len(is_new)


def _decode(
    name: str,
    settings: AutoencoderSettings,
    catalog: Catalog,
    work: Path,
    limits: ImageLimits,
    decoders: int,
    progress: Progress,
) -> tuple[PixelFile, PixelFile]:
    """Decode photos to train and to validate on, and note in the ledger those that fail.

    A run that was begun on the same photos keeps its division of them.
    """
    photos = list(catalog.photos())
    size = (settings.input_size, settings.input_size)
    prepare = partial(images.resize, size=size, method=settings.resize)
    train_file, val_file = (PixelFile(work, part, size) for part in ("training", "validation"))
    if not _contain([train_file, val_file], photos):
        shutil.rmtree(work, ignore_errors=True)
    for file, part in zip((train_file, val_file), split(photos, settings.training), strict=True):
        if file.is_complete():
            continue
        label = f"{name}: decoding {file.photos_file.stem} photos"
        with progress.task(label, len(part), "photos") as advance:
            prepared = prepare_all(part, prepare, limits, decoders, ahead=64)
            for photo, rejected in file.fill(_counted(prepared, advance)):
                catalog.fail_photo(photo, rejected.reason)
    return train_file, val_file


def _contain(files: Sequence[PixelFile], photos: Iterable[Photo]) -> bool:
    """Whether the files are intact and have these photos, and no others."""
    if not all(file.is_intact() for file in files):
        return False
    decoded = {row.tobytes() for file in files for row in file.photos}
    return decoded == {photo.sha256 for photo in photos}


def _counted(prepared: Iterable[Prepared], advance: Advance) -> Iterator[Prepared]:
    for pair in prepared:
        yield pair
        advance(1)


# --- Folders --------------------------------------------------------------------------------------


def remove_unfinished(recipe: Mapping[str, Any], store: ModelStore) -> None:
    """Remove what is left of a run that a finished model has made superfluous."""
    shutil.rmtree(_working_folder(recipe, store), ignore_errors=True)


def _working_folder(recipe: Mapping[str, Any], store: ModelStore) -> Path:
    return store.folder / f".{digest(dict(recipe))}.training"


def _publish(
    content: dict[str, Any],
    store: ModelStore,
    trained: Any,
    history: History,
    train_file: PixelFile,
    val_file: PixelFile,
) -> ModelFolder:
    val_photos = val_file.pixels
    rebuild = model.rebuild(trained)
    errors = reconstruction_errors(rebuild, val_photos)
    originals = np.asarray(val_photos[:_SAMPLE_PHOTOS])
    rebuilt = to_uint8(rebuild(originals))

    def write(folder: Path) -> None:
        save_weights(trained, folder / WEIGHTS)
        write_networks(folder, model.encoder(trained), model.decoder(trained))
        write_json(folder / HISTORY, asdict(history))
        np.save(folder / "training.npy", train_file.photos, allow_pickle=False)
        np.save(folder / "validation.npy", val_file.photos, allow_pickle=False)
        sorted_errors = np.sort(errors, axis=0).astype(np.float32)
        np.save(folder / RECONSTRUCTION_ERRORS, sorted_errors, allow_pickle=False)
        pictures.save_losses(history.loss, history.val_loss, folder / LOSS_PICTURE)
        pictures.save_pairs(originals, rebuilt, folder / PHOTOS_PICTURE)

    content |= {
        "weights": weights_digest(trained),
        "parameters": int(trained.count_params()),
        "epochs": history.epochs,
        "best_epoch": history.best + 1,
        "validation_mse": float(errors[:, 0].mean()),
    }
    return store.publish(content, write)
