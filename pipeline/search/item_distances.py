"""How far given items are from a query: exactly, and without a search."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from pipeline.index.base import F64Vector, Ids, VectorIndex
from pipeline.index.builds import Build
from pipeline.search.ranking import QueryVectors


class ItemDistances:
    """Measures distances to items by the vectors that are stored of their photos."""

    def __init__(self, index: VectorIndex, build: Build) -> None:
        self._index, self._build = index, build

    def to(self, items: Ids, query: QueryVectors) -> F64Vector:
        """(n,) ids → (n,) float64 Euclidean distances, infinite for items without a vector.

        An item is as near as the nearest of its photos is, and a query of several vectors is where
        the nearest of these is, as in a search: `ItemDistances(index, build).to(ids, query)`.
        """
        begin = np.searchsorted(self._items, items)
        counts = np.searchsorted(self._items, items, side="right") - begin
        starts = np.cumsum(counts) - counts
        entries = np.arange(counts.sum()) - np.repeat(starts - begin, counts)
        vectors = self._index.vectors(self._rows[entries]).astype(np.float64)
        nearest = np.full(len(entries), np.inf)
        for vector in query.vectors.astype(np.float64):
            difference = vectors - vector
            to_vector = np.sqrt(np.einsum("ij,ij->i", difference, difference))
            nearest = np.minimum(nearest, to_vector)
        distances = np.full(len(items), np.inf)
        has_vector = counts > 0
        if has_vector.any():
            distances[has_vector] = np.minimum.reduceat(nearest, starts[has_vector])
        return distances

    @cached_property
    def _order(self) -> Ids:
        """Entries of the build's (row, item) pairs, by item."""
        return np.argsort(self._build.ids[:, 1], kind="stable")

    @cached_property
    def _items(self) -> Ids:
        items: Ids = self._build.ids[self._order, 1]
        return items

    @cached_property
    def _rows(self) -> Ids:
        rows: Ids = self._build.ids[self._order, 0]
        return rows
