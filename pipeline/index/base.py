"""What a vector index is: what finds the nearest rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

F32Matrix = npt.NDArray[np.float32]
F32Vector = npt.NDArray[np.float32]
F64Array = npt.NDArray[np.float64]
F64Matrix = npt.NDArray[np.float64]
F64Vector = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Neighbors:
    """The nearest rows of each query, ordered by (distance, row)."""

    distances: F64Matrix
    """(queries, k) Euclidean distances, not squared."""
    rows: Ids
    """(queries, k) row numbers."""
    verified: Ids
    """(queries,) how many vectors were compared with the query in full."""


class VectorIndex(Protocol):
    """Finds the k nearest rows; k is cut to the number of rows there are to find."""

    rows: int
    """How many vectors there are."""
    dim: int
    """Length of a vector."""

    def search(self, queries: F32Matrix, k: int, allowed: Ids | None = None) -> Neighbors:
        """(n, dim) float32 → the k nearest rows of each, among `allowed` rows if given."""

    def vectors(self, rows: Ids) -> F32Matrix:
        """Return the (len(rows), dim) vectors of these rows as they are stored."""

    def close(self) -> None:
        """Close the index's files and maps; it cannot be used afterwards."""
