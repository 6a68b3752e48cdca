"""The vectors that a projection is fitted to: a sample that fits into memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.embeddings.arrays import F32Matrix, Hashes, to_hashes
from pipeline.embeddings.store import EmbeddingStore
from pipeline.errors import TrainingError
from pipeline.index import pca

MAX_PHOTOS = 20_000  # more give the same components
MAX_BYTES = 256 << 20  # of their vectors
_BLOCK = 1024  # vectors


@dataclass(frozen=True)
class Sample:
    """Photos with their vectors, in the order of their hashes."""

    photos: Hashes
    """(n, 32) uint8."""
    vectors: F32Matrix
    """(n, dim) float32; none is zeros."""

    def components(self, count: int) -> pca.Pca:
        """Return the `count` directions of most variance, float64."""
        return pca.fit(self._blocks, count)

    def _blocks(self) -> Iterator[pca.FloatMatrix]:
        for first in range(0, len(self.vectors), _BLOCK):
            yield self.vectors[first : first + _BLOCK].astype(np.float64)


def lowest(photos: Hashes, limit: int) -> Hashes:
    """(n, 32) → those of the lowest hashes, sorted: a sample that changes as little as they do."""
    return to_hashes(b"".join(sorted(row.tobytes() for row in photos)[:limit]))


def read_sample(photos: Hashes, dim: int, vectors: EmbeddingStore) -> Sample:
    """Read the vectors of (n, 32) photos, or of a sample of them: `vectors` are of `dim` numbers.

    Photos without a vector, or with one of zeros, are left out.

    Raises:
        DamagedArtifactError: a vector is not what was written.
    """
    chosen = lowest(photos, max_photos(dim))
    matrix = vectors.gather(chosen)
    has_vector = matrix.any(axis=1) if matrix.size else np.zeros(len(chosen), np.bool_)
    if not has_vector.any():
        return Sample(chosen[:0], np.empty((0, dim), np.float32))
    return Sample(chosen[has_vector], matrix[has_vector])


def max_photos(dim: int) -> int:
    """Return how many photos are sampled at most, if their vectors have `dim` dimensions."""
    return min(MAX_PHOTOS, MAX_BYTES // (4 * dim))


def check_dim(name: str, dim: int, sample: Sample) -> None:
    """Check that vectors can be brought down to `dim` dimensions.

    Raises:
        TrainingError: they have fewer, or there are too few photos.
    """
    photos, given = sample.vectors.shape
    where = f"engines.{name}.dim"
    if dim > given:
        hint = f"give {given:,} or less"
        raise TrainingError(f"{dim:,} of {given:,} dimensions", where=where, hint=hint)
    if dim >= photos:
        hint = f"add photos, or give {photos - 1:,} or less" if photos > 1 else "add photos"
        problem = f"{photos:,} photos with a vector are too few for {dim:,} dimensions"
        raise TrainingError(problem, where=where, hint=hint)
