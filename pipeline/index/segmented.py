"""Several segments, searched as one index: among their live rows, numbered one after another."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing

import numpy as np

from pipeline.index.base import F32Matrix, Ids, Mask, Neighbors, VectorIndex
from pipeline.index.vectors import distinct

EXTRA_NEIGHBORS = 8  # that are asked for beyond k where some rows are dead


class LiveIndex:
    """An index of which only some rows are searched; they are numbered without the others."""

    def __init__(self, index: VectorIndex, is_live: Mask) -> None:
        self._index, self._is_live = index, is_live
        self._live = np.flatnonzero(is_live)
        self.rows, self.dim = len(self._live), index.dim

    def close(self) -> None:
        """Close the index."""
        self._index.close()

    def vectors(self, rows: Ids) -> F32Matrix:
        """Return the (len(rows), dim) vectors of these rows."""
        return self._index.vectors(self._live[rows])

    def search(self, queries: F32Matrix, k: int, allowed: Ids | None = None) -> Neighbors:
        """Return the nearest live rows, by (distance, row)."""
        if allowed is not None:
            return self._search_allowed(queries, k, allowed)
        k = min(k, self.rows)
        dead = self._index.rows - self.rows
        found = self._index.search(
            queries, min(k + min(dead, k + EXTRA_NEIGHBORS), self._index.rows)
        )
        is_live = self._is_live[found.rows]
        # The first k live ones, if there are so many: no other live row is nearer.
        first = np.argsort(~is_live, axis=1, kind="stable")[:, :k]
        rows = self._numbers(np.take_along_axis(found.rows, first, axis=1))
        distances = np.take_along_axis(found.distances, first, axis=1)
        verified = found.verified
        open_ = np.flatnonzero(is_live.sum(axis=1) < k)
        if len(open_):
            rest = self._search_allowed(queries[open_], k, np.arange(self.rows))
            rows[open_], distances[open_], verified[open_] = (
                rest.rows,
                rest.distances,
                rest.verified,
            )
        return Neighbors(distances, rows, verified)

    def _search_allowed(self, queries: F32Matrix, k: int, allowed: Ids) -> Neighbors:
        found = self._index.search(queries, k, self._live[allowed])
        return Neighbors(found.distances, self._numbers(found.rows), found.verified)

    def _numbers(self, rows: Ids) -> Ids:
        """The numbers of live rows without the others."""
        return np.searchsorted(self._live, rows)


class SegmentedIndex:
    """Indexes whose rows are numbered one after another."""

    def __init__(self, indexes: Sequence[VectorIndex]) -> None:
        """Take one or more indexes of the same dim; closing this closes them."""
        self._indexes = indexes
        self._starts = [0, *np.cumsum([index.rows for index in indexes]).tolist()]
        self.rows, self.dim = self._starts[-1], indexes[0].dim

    def close(self) -> None:
        """Close all of them."""
        with ExitStack() as stack:
            for index in self._indexes:
                stack.enter_context(closing(index))

    def vectors(self, rows: Ids) -> F32Matrix:
        """Return the (len(rows), dim) vectors of these rows."""
        vectors = np.empty((len(rows), self.dim), np.float32)
        part = np.searchsorted(self._starts, rows, side="right") - 1
        for number, index in enumerate(self._indexes):
            if len(places := np.flatnonzero(part == number)):
                vectors[places] = index.vectors(rows[places] - self._starts[number])
        return vectors

    def search(self, queries: F32Matrix, k: int, allowed: Ids | None = None) -> Neighbors:
        """Return the nearest rows of all, by (distance, row)."""
        if allowed is not None:
            allowed = distinct(allowed, self.rows)
        found = [self._search_part(part, queries, k, allowed) for part in range(len(self._indexes))]
        distances = np.concatenate([one.distances for one in found], axis=1)
        rows = np.concatenate([one.rows for one in found], axis=1)
        order = np.lexsort((rows, distances), axis=1)[:, :k]
        return Neighbors(
            np.take_along_axis(distances, order, axis=1),
            np.take_along_axis(rows, order, axis=1),
            np.sum([one.verified for one in found], axis=0),
        )

    def _search_part(self, part: int, queries: F32Matrix, k: int, allowed: Ids | None) -> Neighbors:
        """The nearest rows of one index, in the numbers of all; `allowed` is ascending."""
        start, end = self._starts[part : part + 2]
        if allowed is not None:
            first, last = np.searchsorted(allowed, [start, end])
            allowed = allowed[first:last] - start
            if not len(allowed):
                nothing = np.empty((len(queries), 0))
                return Neighbors(
                    nothing, nothing.astype(np.int64), np.zeros(len(queries), np.int64)
                )
        found = self._indexes[part].search(queries, k, allowed)
        return Neighbors(found.distances, found.rows + start, found.verified)
