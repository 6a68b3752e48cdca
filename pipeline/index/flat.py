"""Exact Euclidean search by FAISS's `IndexFlatL2`, the reference."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from pipeline.index.base import F32Matrix, F32Vector, F64Vector, Ids, Neighbors
from pipeline.index.rounding import expanded_square_error, flush_error
from pipeline.index.vectors import READ_ROWS, VectorFile, distinct

QUERY_BLOCK = 1024
"""Queries at a time. FAISS multiplies matrices where they have nearly 128,000 numbers, or more."""
MAX_CANDIDATES = 4096  # of a query; where more would be needed, all rows are compared


class FlatIndex:
    """A FAISS flat index, mapped from its file: opening it costs no copy."""

    def __init__(
        self,
        path: Path,
        *,
        query_block: int = QUERY_BLOCK,
        max_candidates: int = MAX_CANDIDATES,
        read_rows: int = READ_ROWS,
    ) -> None:
        """Open an index file: `FlatIndex(segment.file).search(xq, k=10)`.

        Raises:
            DamagedArtifactError: it is no flat L2 index, or not a whole one.
        """
        self.file = VectorFile(path, read_rows)
        self._query_block, self._max_candidates = query_block, max_candidates
        self.rows: int = self.file.rows
        self.dim: int = self.file.dim
        self.vectors = self.file.read

    def close(self) -> None:
        """Close the file and its maps."""
        self.file.close()

    def search(self, queries: F32Matrix, k: int, allowed: Ids | None = None) -> Neighbors:
        """Return the nearest rows by (distance in float64, row): equal vectors in order of rows."""
        queries = np.ascontiguousarray(queries, np.float32)
        rows = np.arange(self.rows) if allowed is None else distinct(allowed, self.rows)
        selected = None if allowed is None else rows
        k = min(k, len(rows))
        distances, nearest = np.empty((len(queries), k)), np.empty((len(queries), k), np.int64)
        for start in range(0, len(queries), self._query_block):
            block = queries[start : start + self._query_block]
            for query, answer in enumerate(self._search(block, k, rows, selected), start):
                distances[query], nearest[query] = answer
        return Neighbors(distances, nearest, np.full(len(queries), len(rows)))

    def _search(
        self, queries: F32Matrix, k: int, rows: Ids, selected: Ids | None
    ) -> Iterator[tuple[F64Vector, Ids]]:
        """Let FAISS propose candidates until no other row can be nearer than the k-th."""
        limit = min(len(rows), self._max_candidates) if k and self.file.is_mapped else 0
        batch_count = 4 * k + 64  # more than for one query: products of matrices are less exact
        proposed: Iterable[tuple[F64Vector, Ids] | None] = [None] * len(queries)
        if len(queries) > 1 and batch_count < limit:
            proposed = zip(*self.file.scan(queries, batch_count, selected), strict=True)
        for query, candidates in zip(queries, proposed, strict=True):
            answer = None
            if candidates is not None:
                norm = float(np.linalg.norm(query.astype(np.float64)))
                answer = self._certain(query, k, candidates[0], candidates[1], norm)
            count = k + 8
            while answer is None and count < limit:
                (squared,), (near,) = self.file.scan(query[np.newaxis], count, selected)
                answer = self._certain(query, k, squared, near)
                count *= 4
            yield answer or self.file.nearest(query, rows, k)

    def _certain(
        self, query: F32Vector, k: int, squared: F64Vector, rows: Ids, norm: float = 0.0
    ) -> tuple[F64Vector, Ids] | None:
        """Return the k nearest of the candidates, or None if another row may be nearer.

        `squared` are FAISS's squared distances in float32, ascending: no other row's is smaller
        than the last one. For a single query they are sums of squared differences. For many,
        FAISS multiplies matrices, ‖x‖² + ‖q‖² − 2·x·q; then `norm` is ‖q‖. A row that is no
        farther than the k-th has ‖x‖ + ‖q‖ ≤ 2·‖q‖ + the k-th's distance.
        """
        if rows[-1] < 0:  # squares too large for float32: FAISS leaves such rows out
            return None
        distances, nearest = self.file.nearest(query, rows, k)
        error = expanded_square_error(self.dim, float(2 * norm + distances[-1]))
        beyond = squared[-1] - error - flush_error(self.dim)
        return (distances, nearest) if distances[-1] ** 2 < beyond < np.inf else None
