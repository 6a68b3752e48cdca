"""Principal components of vectors that are read in blocks, so that memory holds one block.

By subspace iteration from a random start: Halko, Martinsson and Tropp, Finding structure with
randomness, SIAM Review 53(2), 2011, algorithms 4.4 and 5.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.index.base import F64Vector

FloatMatrix = npt.NDArray[Any]  # (n, dim), float32 or float64
FloatVector = npt.NDArray[Any]
Blocks = Callable[[], Iterable[FloatMatrix]]
"""Starts reading all vectors anew, as blocks of (n, dim)."""

OVERSAMPLING = 32
ITERATIONS = 5


@dataclass(frozen=True)
class Pca:
    """A few directions in the space of some vectors; arrays have the vectors' dtype."""

    mean: FloatVector
    """(dim,)."""
    components: FloatMatrix
    """(count, dim): orthonormal rows, the direction of most variance first."""
    variances: F64Vector
    """(count,) float64: the variance of the vectors along each component, descending."""

    def project(self, vectors: FloatMatrix) -> FloatMatrix:
        """(n, dim) → (n, count): the vectors' coordinates along the components."""
        return (vectors - self.mean) @ self.components.T

    def reconstruct(self, coordinates: FloatMatrix) -> FloatMatrix:
        """(n, count) coordinates → (n, dim): what they say of the vectors."""
        return coordinates @ self.components + self.mean

    def reconstruction_error(self, blocks: Iterable[FloatMatrix]) -> float:
        """Mean squared error of vectors, in blocks of (n, dim), rebuilt from their projections."""
        total, vectors = 0.0, 0
        for block in blocks:
            centered = block - self.mean
            rest = centered - (centered @ self.components.T) @ self.components
            total += float(np.square(rest).sum(dtype=np.float64))
            vectors += len(block)
        return total / (vectors * len(self.mean))


def fit(
    blocks: Blocks,
    count: int,
    *,
    seed: int = 0,
    oversampling: int = OVERSAMPLING,
    iterations: int = ITERATIONS,
) -> Pca:
    """Find about the `count` directions of most variance, at most dim: `fit(lambda: [xb], 16)`.

    The vectors are read `iterations` + 2 times, or 4 times if they are few. Blocks are multiplied
    in their own dtype, and added up in float64. `oversampling` more directions are followed than
    are returned, as the last ones are found least well. With fewer vectors than `count` the last
    directions mean nothing: their variance is 0.
    """
    mean, rows = _mean(blocks)
    dim, dtype = len(mean), mean.dtype
    count, width = min(count, dim), min(count + oversampling, dim)
    if rows <= width:  # the first product spans all vectors: another one is for its rounding
        iterations = min(iterations, 2)

    def centered() -> Iterator[FloatMatrix]:
        return (block - mean for block in blocks())

    basis, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((dim, width)))
    for _ in range(iterations):
        product = np.zeros((dim, width))
        narrow = basis.astype(dtype)
        for block in centered():
            product += block.T @ (block @ narrow)
        basis, _ = np.linalg.qr(product)
    scatter = np.zeros((width, width))
    narrow = basis.astype(dtype)
    for block in centered():
        inside = (block @ narrow).astype(np.float64)
        scatter += inside.T @ inside
    squares, turned = np.linalg.eigh(scatter)  # the least variance first
    best = slice(None, -count - 1, -1)
    components = (basis @ turned[:, best]).T.astype(dtype)
    return Pca(mean, components, np.maximum(squares[best], 0) / rows)


def _mean(blocks: Blocks) -> tuple[FloatVector, int]:
    """The mean of all vectors, summed in float64, in their dtype; and how many there are."""
    rows, total, dtype = 0, np.zeros(()), np.dtype(np.float64)
    for block in blocks():
        total = total + block.sum(axis=0, dtype=np.float64)
        rows, dtype = rows + len(block), block.dtype
    return (total / rows).astype(dtype), rows
