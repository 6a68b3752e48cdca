"""Rank a whole gallery for each query: exactly the order in which search would give it.

An item is as near as its nearest photo, and order is (distance, item). The distances of a block of
queries come from matrix products, ‖x−q‖² = ‖x‖² + ‖q‖² − 2·x·q in float64, whose error is bounded
(`index.rounding`); wherever two neighbors in the order are closer together than that, distances are
computed anew as search computes them, from differences. So the order is search's, ties included,
to the last item, and not only among the first k.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from pipeline.evaluation.retriever import VectorSet
from pipeline.index.base import F32Matrix, F64Matrix, F64Vector, Ids
from pipeline.index.rounding import expanded_square_error

ROW_BLOCK = 2048  # vectors of the gallery, in float64 at a time


class ExactRanker:
    """A gallery, ready to be ranked. Memory holds blocks of its vectors, never all."""

    def __init__(self, gallery: VectorSet, queries: VectorSet, row_block: int = ROW_BLOCK) -> None:
        self._gallery, self._queries, self._row_block = gallery, queries, row_block
        self._begin = np.searchsorted(gallery.owners[:, 0], np.arange(gallery.count))
        rows, entry_row = np.unique(gallery.owners[:, 1], return_inverse=True)
        self._rows, distinct, self._mean = self._distinct(rows)
        self._entry_vector = distinct[entry_row]
        """(m,): which distinct vector each entry of the gallery's `owners` has."""
        blocks = (self._centered(start) for start in range(0, len(self._rows), row_block))
        self._squares = np.concatenate([np.einsum("ij,ij->i", x, x) for x in blocks])

    def rank(self, first: int, last: int, excluded: Sequence[Ids]) -> Ids:
        """Rank the gallery for the queries `first` to `last` - 1.

        `excluded` are positions of items, for each of these queries: they come last in its list.

        Returns:
            (queries, n) int64: positions of the gallery's items, nearest first.
        """
        vectors, begin = self._queries.vectors(first, last)
        squared, tolerance = self._squared(vectors, begin)
        for distances, items in zip(squared, excluded, strict=True):
            distances[items] = np.inf
        order = np.argsort(squared, axis=1)
        squared = np.take_along_axis(squared, order, axis=1)
        with np.errstate(invalid="ignore"):  # the difference of two that are excluded
            is_close = np.diff(squared, axis=1) <= tolerance[:, np.newaxis]
        ends = np.append(begin, len(vectors))
        for query in np.flatnonzero(is_close.any(axis=1)).tolist():
            is_unsure = np.append(False, is_close[query]) | np.append(is_close[query], False)
            items = order[query, is_unsure]
            distances = self._exact(vectors[ends[query] : ends[query + 1]], items)
            order[query, is_unsure] = items[np.lexsort((items, distances))]
        return order

    def distances(self, first: int, last: int, excluded: Sequence[Ids]) -> F64Matrix:
        """(queries, n) float64: how far the items are that `rank` ranks, excluded ones infinitely.

        But for rounding, these are the distances of a search.
        """
        squared, _ = self._squared(*self._queries.vectors(first, last))
        for distances, items in zip(squared, excluded, strict=True):
            distances[items] = np.inf
        return np.sqrt(np.maximum(squared, 0))

    def _squared(self, vectors: F32Matrix, begin: Ids) -> tuple[F64Matrix, F64Vector]:
        """Return (queries, n) squared distances, and within what of each other they are unsure.

        That is twice their error, as two are compared, and twice again for the roundings of
        centering and of the distances that search computes.
        """
        queries = vectors - self._mean
        norms = np.einsum("ij,ij->i", queries, queries)
        squared = np.empty((len(queries), len(self._rows)))
        for start in range(0, len(self._rows), self._row_block):
            part = slice(start, start + self._row_block)
            products = queries @ self._centered(start).T
            squared[:, part] = self._squares[part] + norms[:, np.newaxis] - 2 * products
        max_norms = np.sqrt(self._squares.max()) + np.sqrt(norms)
        tolerance = 4 * expanded_square_error(vectors.shape[1], max_norms, np.float64)
        if len(begin) < len(vectors):
            squared = np.minimum.reduceat(squared, begin, axis=0)
            tolerance = np.maximum.reduceat(tolerance, begin)
        return _nearest_photos(squared[:, self._entry_vector], self._begin), tolerance

    def _exact(self, queries: F32Matrix, items: Ids) -> F64Vector:
        """Distances of items of the gallery to the nearest of a query's vectors, as search's."""
        begin = self._begin[items]
        counts = np.append(self._begin, len(self._entry_vector))[items + 1] - begin
        starts = np.cumsum(counts) - counts
        entries = np.arange(counts.sum()) - np.repeat(starts - begin, counts)
        distinct, entry_vector = np.unique(self._entry_vector[entries], return_inverse=True)
        distances = np.full(len(distinct), np.inf)
        for start in range(0, len(distinct), self._row_block):
            part = slice(start, start + self._row_block)
            vectors = self._gallery.read(self._rows[distinct[part]])
            for query in queries.astype(np.float64):
                difference = vectors - query
                to_query = np.sqrt(np.einsum("ij,ij->i", difference, difference))
                distances[part] = np.minimum(distances[part], to_query)
        return _nearest_photos(distances[np.newaxis, entry_vector], starts).ravel()

    def _centered(self, start: int) -> F64Matrix:
        """A block of distinct vectors less their mean: shorter vectors have smaller errors."""
        rows = self._rows[start : start + self._row_block]
        return self._gallery.read(rows) - self._mean

    def _distinct(self, rows: Ids) -> tuple[Ids, Ids, F64Vector]:
        """Return a row for each distinct vector, which of them each row has, and their mean.

        Equal vectors are equally far from everything, whatever the rounding; and a gallery in which
        all are equal would otherwise be one tie, to be compared in full.
        """
        numbers: dict[bytes, int] = {}
        distinct = np.empty(len(rows), np.int64)
        total = np.zeros(self._gallery.read(rows[:1]).shape[1])
        for start in range(0, len(rows), self._row_block):
            vectors = self._gallery.read(rows[start : start + self._row_block])
            total += vectors.sum(axis=0, dtype=np.float64)
            for i, vector in enumerate(vectors, start):
                digest = hashlib.blake2b(vector.tobytes(), digest_size=16).digest()
                distinct[i] = numbers.setdefault(digest, len(numbers))
        _, first = np.unique(distinct, return_index=True)
        return rows[first], distinct, total / len(rows)


def _nearest_photos(distances: F64Matrix, begin: Ids) -> F64Matrix:
    """(queries, entries) → (queries, owners): an owner is as near as its nearest photo."""
    if len(begin) == distances.shape[1]:
        return distances
    return np.minimum.reduceat(distances, begin, axis=1)
