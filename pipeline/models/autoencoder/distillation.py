"""A guide: what a latent is taught beside rebuilding pixels.

Squared errors of pixels are mostly about colors and backgrounds. So each photo also gets a target,
a short vector made of descriptors (`descriptors.py`) and, if there is a teacher, of the vector that
this other engine has of it. The latent has to rebuild the target and, above all, to have near what
is near there. Everything is of the photo as it is and in the mirror: a shoe that points to the left
is a shoe.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.config import DistillationSettings
from pipeline.models.autoencoder import descriptors
from pipeline.models.base import F32Matrix

U8Photos = npt.NDArray[np.uint8]
Ids = npt.NDArray[np.int64]

_FITTED = 10_000  # photos from which components are learned: more changes nothing
_BATCH = 256


@dataclass(frozen=True)
class Guide:
    """What some photos are to be rebuilt as, and which of them are to be near each other."""

    targets: F32Matrix
    """(n, components) float32, centered, of a total variance of about 1."""
    neighbors: Ids
    """(n, k) int64: the rows of the nearest others by their targets; a lone photo has itself."""


class Targets:
    """From photos to targets, learned from those that are trained on."""

    def __init__(
        self, photos: U8Photos, teacher: F32Matrix | None, settings: DistillationSettings, seed: int
    ) -> None:
        from sklearn.decomposition import PCA

        self.settings = settings
        random = np.random.default_rng(seed)
        rows = np.sort(random.choice(len(photos), min(_FITTED, len(photos)), replace=False))
        parts = self._parts(photos, teacher, rows)
        self.means = [part.mean(axis=0) for part in parts]
        self.scales = [
            weight / max(float(np.sqrt(part.var(axis=0).sum())), 1e-6)
            for part, weight in zip(parts, self.weights, strict=True)
        ]
        whole = self._joined(parts)
        count = min(settings.components, *whole.shape)
        self.pca = PCA(count, svd_solver="randomized", random_state=seed)
        with np.errstate(invalid="ignore"):  # of a single photo
            total = float(np.sqrt(self.pca.fit_transform(whole).var(axis=0).sum()))
        self.total = total if total > 0 else 1.0

    @property
    def weights(self) -> Sequence[float]:
        """Of the descriptors that count, then of the teacher."""
        s = self.settings
        return [*self._descriptors().values(), *([s.teacher_weight] if s.teacher else [])]

    def guide(self, photos: U8Photos, teacher: F32Matrix | None) -> Guide:
        """(n, side, side, 3) uint8 and, of a teacher, (n, dim) float32 → their guide."""
        from sklearn.neighbors import NearestNeighbors

        found = []
        for start in range(0, len(photos), _BATCH):
            rows = np.arange(start, min(start + _BATCH, len(photos)))
            found.append(self.pca.transform(self._joined(self._parts(photos, teacher, rows))))
        targets = (np.concatenate(found) / self.total).astype(np.float32)
        count = min(self.settings.neighbors, len(photos) - 1)
        if not count:
            return Guide(targets, np.zeros((len(photos), 1), np.int64))
        search = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(targets)
        return Guide(targets, search.kneighbors(return_distance=False).astype(np.int64))

    def _descriptors(self) -> Mapping[str, float]:
        """The descriptors that count, and their weights."""
        s = self.settings
        weights = {
            "hog": s.hog,
            "foreground_mask": s.foreground_mask,
            "lab_histogram": s.lab_histogram,
            "pixels": s.pixels,
        }
        return {name: weight for name, weight in weights.items() if weight}

    def _parts(self, photos: U8Photos, teacher: F32Matrix | None, rows: Ids) -> list[F32Matrix]:
        """Each descriptor of some rows, and the root of each of the teacher's numbers.

        Roots, with their sign, keep a few large ones from deciding (Perronnin, Sánchez and Mensink,
        Improving the Fisher kernel, ECCV 2010).
        """
        all_of_them = descriptors.described(photos, rows, mirrored=True)
        parts = [all_of_them[name] for name in self._descriptors()]
        if teacher is not None:
            own = teacher[rows]
            parts.append(np.sign(own) * np.sqrt(np.abs(own)))
        return parts

    def _joined(self, parts: Sequence[F32Matrix]) -> F32Matrix:
        scaled = zip(parts, self.means, self.scales, strict=True)
        return np.concatenate([(part - mean) * scale for part, mean, scale in scaled], axis=1)


def pairs(guide: Guide, order: Ids, batch: int, random: np.random.Generator | None) -> Ids:
    """Arrange photos for training in pairs: (n,) rows → (2n,) rows, `batch` of them at a time.

    The first half of each batch are the rows of `order`, the second a neighbor of each: one drawn
    at random, or without `random` the nearest.
    """
    half = max(1, batch // 2)
    count = guide.neighbors.shape[1]
    arranged = []
    for start in range(0, len(order), half):
        rows = order[start : start + half]
        which = random.integers(count, size=len(rows)) if random else np.zeros(len(rows), int)
        arranged += [rows, guide.neighbors[rows, which]]
    return np.concatenate(arranged)
