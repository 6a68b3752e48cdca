"""Exact Euclidean search by FAISS's `IndexFlatL2`, the reference."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.index.base import F32Matrix, F32Vector, F64Vector, Ids, Neighbors
from pipeline.index.vectors import VectorFile, distinct, import_faiss, only, write_flat

__all__ = ["FlatIndex", "write_flat"]

_QUERIES = 512  # at a time: from about a hundred on, FAISS multiplies matrices
_MANY = 4096  # candidates beyond which all rows are looked at
_TINY = 2.0**-126  # squares below it may be flushed to zero


class FlatIndex:
    """A FAISS flat index, mapped from its file rather than read: opening it costs no copy."""

    def __init__(self, path: Path) -> None:
        """Open an index file.

        Raises:
            DamagedArtifactError: it is no flat L2 index, or not a whole one.
        """
        self.file = VectorFile(path)
        self.rows: int = self.file.rows
        self.dim: int = self.file.dim
        faiss = import_faiss()
        try:
            self._index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
        except RuntimeError:  # no address space to map it
            self._index = None

    def close(self) -> None:
        """Close the file and its maps."""
        self._index = None
        self.file.close()

    def vectors(self, rows: Ids) -> F32Matrix:
        """Return the (len(rows), dim) vectors of these rows as they are stored."""
        return self.file.read(rows)

    def search(self, queries: F32Matrix, k: int, allowed: Ids | None = None) -> Neighbors:
        """(n, dim) float32 → the k nearest rows of each, among `allowed` rows if given.

        Distances are computed in float64 and order is (distance, row), so equal vectors are ordered
        by row whatever the rounding of FAISS's float32 sums.
        """
        import_faiss()  # this may be another thread than the one that opened the index
        queries = np.ascontiguousarray(queries, np.float32)
        rows = np.arange(self.rows) if allowed is None else distinct(allowed, self.rows)
        parameters = None
        if allowed is not None:
            parameters = import_faiss().SearchParameters(sel=only(rows, self.rows))
        k = min(k, len(rows))
        distances = np.empty((len(queries), k), np.float64)
        nearest = np.empty((len(queries), k), np.int64)
        for start in range(0, len(queries), _QUERIES):
            block = queries[start : start + _QUERIES]
            for number, found in enumerate(self._search(block, k, rows, parameters), start):
                distances[number], nearest[number] = found
        return Neighbors(distances, nearest, np.full(len(queries), len(rows)))

    def _search(
        self, queries: F32Matrix, k: int, rows: Ids, parameters: Any
    ) -> Iterator[tuple[F64Vector, Ids]]:
        """Let FAISS propose candidates until none left out can be nearer than the k-th."""
        most = min(len(rows), _MANY) if k and self._index is not None else 0
        together = 4 * k + 64  # more than for one query: products of matrices are less exact
        proposed: Iterable[Any] = [None] * len(queries)
        if len(queries) > 1 and together < most:
            proposed = zip(*self._candidates(queries, together, parameters), strict=True)
        for query, candidates in zip(queries, proposed, strict=True):
            found = None
            if candidates is not None:
                norm = float(np.linalg.norm(query.astype(np.float64)))
                found = self._certain(query, k, candidates[0], candidates[1], norm)
            count = k + 8
            while found is None and count < most:
                squared, near = self._candidates(query[np.newaxis], count, parameters)
                found = self._certain(query, k, squared[0], near[0])
                count *= 4
            yield found or self.file.nearest(query, rows, k)

    def _certain(
        self, query: F32Vector, k: int, squared: F64Vector, near: Ids, multiplied: float = 0
    ) -> tuple[F64Vector, Ids] | None:
        """Return the k nearest of the candidates, or None if a row left out may be nearer.

        A float32 sum of d squared differences is off by a factor of at most 1 ± (d + 3)·2⁻²⁴
        (Higham, Accuracy and Stability of Numerical Algorithms, §3.1), in any order of adding. For
        many queries FAISS multiplies matrices, ‖x−q‖² = ‖x‖² + ‖q‖² − 2x·q, which is off by that
        times (‖x‖ + ‖q‖)²; a row no farther than the k-th has ‖x‖ ≤ ‖q‖ + the k-th's distance.
        `multiplied` is ‖q‖ if that was done.
        """
        if near[-1] < 0:  # squares too large for float32: FAISS leaves such rows out
            return None
        distances, nearest = self.file.nearest(query, near, k)
        error = 1.01 * (self.dim + 3) * 2.0**-24
        beyond = squared[-1] - error * (2 * multiplied + distances[-1]) ** 2 - self.dim * _TINY
        return (distances, nearest) if distances[-1] ** 2 < beyond < np.inf else None

    def _candidates(self, queries: F32Matrix, count: int, parameters: Any) -> Any:
        squared, rows = self._index.search(queries, count, params=parameters)
        return squared.astype(np.float64), rows
