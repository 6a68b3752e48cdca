"""Decoded photos → examples to train and to validate on, with what their training needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pipeline.catalog.pixel_files import PixelFile
from pipeline.config import TrainingSettings
from pipeline.models.autoencoder.distillation import TargetBuilder
from pipeline.models.autoencoder.fit import Examples
from pipeline.models.autoencoder.stem import Stem, build_stem, compute_features
from pipeline.models.base import F32Matrix, U8Batch
from pipeline.progress import Progress

TeacherVectors = Callable[[U8Batch], F32Matrix]
"""(n, 32) uint8 SHA-256 of photos → (n, dim) float32: another engine's vectors of them."""


def with_targets(
    training: TrainingSettings,
    train_file: PixelFile,
    val_file: PixelFile,
    teacher: TeacherVectors | None,
) -> tuple[Examples, Examples]:
    """Return both sets, with targets if there is distillation."""
    train_photos, val_photos = train_file.pixels, val_file.pixels
    if not training.distillation:
        return Examples(train_photos), Examples(val_photos)
    train_vectors, val_vectors = (
        None if teacher is None else teacher(file.photos) for file in (train_file, val_file)
    )
    builder = TargetBuilder(train_photos, train_vectors, training.distillation, training.seed)
    return (
        Examples(train_photos, builder.build(train_photos, train_vectors)),
        Examples(val_photos, builder.build(val_photos, val_vectors)),
    )


def with_features(
    name: str, sets: tuple[Examples, Examples], stem: Stem | None, work: Path, progress: Progress
) -> tuple[Examples, Examples]:
    """Return both sets with what the stem gives for them, if there is one, kept in a work folder.

    Raises:
        ConfigError: as `build_stem`.
    """
    if stem is None:
        return sets
    network = build_stem(stem, sets[0].photos.shape[1])
    with progress.task(f"{name}: stem", sum(len(one.photos) for one in sets), "photos") as advance:
        train_set, val_set = (
            replace(
                examples,
                features=compute_features(
                    network, examples.photos, work / "features" / f"{number}.npy", advance
                ),
            )
            for number, examples in enumerate(sets)
        )
    return train_set, val_set
