"""Targets of distillation: what a latent has to keep beside the pixels.

Squared errors of pixels are mostly about colors and backgrounds. So each photo also gets a target,
a short vector made of descriptors (`descriptors.py`) and, if there is a teacher, of the teacher's
vector. The latent has to predict the target and, above all, to have the same neighbors. Each target
is the mean of a photo's and its mirror image's: a shoe that points to the left is a shoe.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.config import DistillationSettings
from pipeline.models.autoencoder import descriptors
from pipeline.models.base import F32Matrix, Ids, U8Batch

_MAX_FIT_PHOTOS = 10_000  # more give the same components
_BATCH_SIZE = 256


@dataclass(frozen=True)
class DistillationTargets:
    """What the latents of some photos have to predict, and which of them have to be near."""

    targets: F32Matrix
    """(n, components) float32, centered, of a total variance of about 1."""
    neighbors: Ids
    """(n, k) int64: the rows of the nearest others by their targets; a lone photo has itself."""


class TargetBuilder:
    """Makes targets of photos, by a PCA that is fitted to the photos to train on.

    builder = TargetBuilder(train_photos, teacher_vectors, settings, seed=7)
    targets = builder.build(val_photos, val_teacher_vectors)
    """

    def __init__(
        self, photos: U8Batch, teacher: F32Matrix | None, settings: DistillationSettings, seed: int
    ) -> None:
        """Fit to (n, side, side, 3) uint8 photos and, with a teacher, its (n, dim) vectors."""
        from sklearn.decomposition import PCA

        self.max_neighbors = settings.neighbors
        names = ("hog", "foreground_mask", "lab_histogram", "pixels")
        weights = {name: getattr(settings, name) for name in names if getattr(settings, name)}
        self.descriptors = tuple(weights)
        if settings.teacher:
            weights["teacher"] = settings.teacher_weight
        random = np.random.default_rng(seed)
        count = min(_MAX_FIT_PHOTOS, len(photos))
        rows = np.sort(random.choice(len(photos), count, replace=False))
        parts = self._parts(photos, teacher, rows)
        self.means = [part.mean(axis=0) for part in parts]
        self.scales = [
            weight / max(float(np.sqrt(part.var(axis=0).sum())), 1e-6)
            for part, weight in zip(parts, weights.values(), strict=True)
        ]
        joined = self._join(parts)
        components = min(settings.components, *joined.shape)
        self.pca = PCA(components, svd_solver="randomized", random_state=seed)
        with np.errstate(invalid="ignore"):  # of a single photo
            spread = float(np.sqrt(self.pca.fit_transform(joined).var(axis=0).sum()))
        self.spread = spread if spread > 0 else 1.0

    def build(self, photos: U8Batch, teacher: F32Matrix | None) -> DistillationTargets:
        """(n, side, side, 3) uint8 and, with a teacher, (n, dim) float32 → the photos' targets."""
        batches = []
        for start in range(0, len(photos), _BATCH_SIZE):
            rows = np.arange(start, min(start + _BATCH_SIZE, len(photos)))
            batches.append(self.pca.transform(self._join(self._parts(photos, teacher, rows))))
        targets = (np.concatenate(batches) / self.spread).astype(np.float32)
        return DistillationTargets(targets, _nearest_others(targets, self.max_neighbors))

    def _parts(self, photos: U8Batch, teacher: F32Matrix | None, rows: Ids) -> list[F32Matrix]:
        """Each descriptor of some rows, and signed square roots of the teacher's vectors.

        Roots keep a few large components from deciding (Perronnin, Sánchez and Mensink, Improving
        the Fisher kernel for large-scale image classification, ECCV 2010).
        """
        by_name = descriptors.extract(photos, rows, mirrored=True)
        parts = [by_name[name] for name in self.descriptors]
        if teacher is not None:
            vectors = teacher[rows]
            parts.append(np.sign(vectors) * np.sqrt(np.abs(vectors)))
        return parts

    def _join(self, parts: Sequence[F32Matrix]) -> F32Matrix:
        scaled = zip(parts, self.means, self.scales, strict=True)
        return np.concatenate([(part - mean) * scale for part, mean, scale in scaled], axis=1)


def _nearest_others(targets: F32Matrix, count: int) -> Ids:
    """(n, components) → (n, count) rows of the nearest others, fewer if there are fewer."""
    from sklearn.neighbors import NearestNeighbors

    count = min(count, len(targets) - 1)
    if not count:
        return np.zeros((len(targets), 1), np.int64)
    search = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(targets)
    neighbors: Ids = search.kneighbors(return_distance=False).astype(np.int64)
    return neighbors


def pairs(neighbors: Ids, order: Ids, batch: int, random: np.random.Generator | None) -> Ids:
    """Arrange photos for training in pairs: (n,) rows → (2n,) rows, `batch` of them at a time.

    The first half of each batch are the rows of `order`, the second half a neighbor of each, from
    (photos, k) `neighbors`: one drawn at random, or without `random` the nearest.
    """
    half = max(1, batch // 2)
    count = neighbors.shape[1]
    arranged = []
    for start in range(0, len(order), half):
        rows = order[start : start + half]
        column = random.integers(count, size=len(rows)) if random else np.zeros(len(rows), int)
        arranged += [rows, neighbors[rows, column]]
    return np.concatenate(arranged)
