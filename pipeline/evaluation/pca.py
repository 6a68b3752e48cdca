"""Principal components of pixels: how much a few numbers can say without any learning."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

U8Photos = npt.NDArray[np.uint8]
F32Matrix = npt.NDArray[np.float32]
F32Photos = npt.NDArray[np.float32]
F64Array = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int64]

_BYTES = 1 << 25  # of a block of photos, in float32
_MORE = 32  # directions beyond those asked for, as the last ones are found least well
_ROUNDS = 5


@dataclass(frozen=True)
class Pca:
    """A few directions in the space of all photos of a size."""

    mean: F32Matrix
    """(d,) float32, d being the numbers of a photo, each 0..1."""
    components: F32Matrix
    """(d, count) float32, orthonormal columns, the one of most variance first."""

    def project(self, photos: U8Photos, rows: Ids) -> F32Matrix:
        """(n, h, w, 3) uint8 and row numbers → (len(rows), count) float32."""
        blocks = [block @ self.components for block in _blocks(photos, rows, self.mean)]
        return np.concatenate([np.empty((0, self.components.shape[1]), np.float32), *blocks])

    def rebuild(self, photos: U8Photos, rows: Ids) -> F32Photos:
        """Rebuild a few photos from their projections: (len(rows), h, w, 3) float32, about 0..1."""
        rebuilt = self.project(photos, rows) @ self.components.T + self.mean
        return rebuilt.reshape(len(rows), *photos.shape[1:])

    def error(self, photos: U8Photos, rows: Ids) -> float:
        """Mean squared error of photos rebuilt from their projections; pixels are 0..1."""
        total = 0.0
        for block in _blocks(photos, rows, self.mean):
            rest = block - (block @ self.components) @ self.components.T
            total += float(np.square(rest).sum(dtype=np.float64))
        return total / (len(rows) * len(self.mean))


def fit(photos: U8Photos, rows: Ids, count: int, seed: int) -> Pca:
    """Find the `count` directions of most variance of some rows of (n, h, w, 3) uint8.

    By subspace iteration from a random start (Halko, Martinsson and Tropp, Finding structure with
    randomness, SIAM Review 53(2), 2011, algorithms 4.4 and 5.1), which reads the photos eight times
    and holds a block of them. There are no more directions than photos, or than numbers in one.
    """
    d = int(np.prod(photos.shape[1:]))
    count = min(count, len(rows), d)
    width = min(count + _MORE, len(rows), d)
    total = np.zeros(d)
    for block in _blocks(photos, rows, np.zeros(d, np.float32)):
        total += block.sum(axis=0, dtype=np.float64)
    mean = (total / len(rows)).astype(np.float32)
    basis, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((d, width)))
    for _ in range(_ROUNDS):
        product = np.zeros((d, width))
        narrow = basis.astype(np.float32)
        for block in _blocks(photos, rows, mean):
            product += block.T @ (block @ narrow)
        basis, _ = np.linalg.qr(product)
    spread = np.zeros((width, width))
    narrow = basis.astype(np.float32)
    for block in _blocks(photos, rows, mean):
        inside = (block @ narrow).astype(np.float64)
        spread += inside.T @ inside
    _, turned = np.linalg.eigh(spread)  # the least variance first
    return Pca(mean, (basis @ turned[:, : -count - 1 : -1]).astype(np.float32))


def _blocks(photos: U8Photos, rows: Ids, mean: F32Matrix) -> Iterator[F32Matrix]:
    """Yield the photos of some rows in blocks: (n, d) float32, 0..1 less a (d,) mean."""
    step = max(1, _BYTES // (4 * int(np.prod(photos.shape[1:]))))
    for start in range(0, len(rows), step):
        block = photos[rows[start : start + step]].astype(np.float32)
        yield block.reshape(len(block), -1) / np.float32(255) - mean
