"""What a vector index is: what finds the nearest rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
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
Answer = tuple[F64Vector, Ids, int]
"""To one query: (k,) distances and rows, and how many vectors were compared with it in full."""


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


def joined(
    answers: Iterable[Answer | None],
    queries: F32Matrix,
    k: int,
    search: Callable[[F32Matrix], Neighbors],
) -> Neighbors:
    """Join the answers to (n, dim) queries; those that have none are searched for otherwise.

    joined(answers, queries, 10, lambda rest: flat.search(rest, 10))
    """
    distances, rows = np.empty((len(queries), k)), np.empty((len(queries), k), np.int64)
    verified = np.empty(len(queries), np.int64)
    unanswered = []
    for i, answer in enumerate(answers):
        if answer is None:
            unanswered.append(i)
        else:
            distances[i], rows[i], verified[i] = answer
    if unanswered:
        rest = search(queries[unanswered])
        distances[unanswered], rows[unanswered] = rest.distances, rest.rows
        verified[unanswered] = rest.verified
    return Neighbors(distances, rows, verified)
