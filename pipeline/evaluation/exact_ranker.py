"""Rank a whole gallery for each query: exactly the order in which search would give it.

An item is as near as its nearest photo, and order is (distance, item). The distances of a block of
queries come from matrix products, ‖x−q‖² = ‖x‖² + ‖q‖² − 2x·q in float64, which are off by at most
a known bound; wherever two neighbors in the order are closer together than that, distances are
computed anew as search computes them, from differences. So the order is search's, ties included,
to the last item, and not only where P@k preprocessing.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from pipeline.evaluation.retriever import Retriever, VectorSet

F32Matrix = npt.NDArray[np.float32]
F64Matrix = npt.NDArray[np.float64]
F64Vector = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int64]

_ROWS = 2048  # of the gallery, in float64 at a time


class ExactRanker:
    """The gallery of a space, ready to be ranked. Memory holds blocks of its vectors, never all."""

    def __init__(self, space: Retriever) -> None:
        self.queries: VectorSet = space.queries
        self.gallery: VectorSet = space.gallery
        owners = self.gallery.owners
        self._begin = np.searchsorted(owners[:, 0], np.arange(self.gallery.count))
        rows, at = np.unique(owners[:, 1], return_inverse=True)
        self._rows, kind, mean = self._distinct(rows)
        self._kind = kind[at]
        """(m,): which distinct vector each entry of `owners` has."""
        self._mean = mean
        blocks = (self._centered(start) for start in range(0, len(self._rows), _ROWS))
        self._squares = np.concatenate([np.einsum("ij,ij->i", x, x) for x in blocks])

    def block(self, first: int, last: int, left_out: list[Ids]) -> Ids:
        """Rank the gallery for the queries `first` to `last` - 1.

        Those that are left out of a query's list come at its end.

        Returns:
            (queries, n) int64: the gallery's owners, nearest first.
        """
        vectors, begin = self.queries.of(first, last)
        squared, wide = self._squared(vectors, begin)
        for own, absent in zip(squared, left_out, strict=True):
            own[absent] = np.inf
        order = np.argsort(squared, axis=1)
        squared = np.take_along_axis(squared, order, axis=1)
        with np.errstate(invalid="ignore"):  # what is left out is no distance apart
            close = np.diff(squared, axis=1) <= wide[:, np.newaxis]
        ends = np.append(begin, len(vectors))
        for query in np.flatnonzero(close.any(axis=1)).tolist():
            unsure = np.append(False, close[query]) | np.append(close[query], False)
            members = order[query, unsure]
            exact = self._exact(vectors[ends[query] : ends[query + 1]], members)
            order[query, unsure] = members[np.lexsort((members, exact))]
        return order

    def _squared(self, vectors: F32Matrix, begin: Ids) -> tuple[F64Matrix, F64Vector]:
        """Return (queries, n) squared distances, and within what of each other they are unsure.

        A sum of d products is off by at most d·2⁻⁵³ times the norms multiplied (Higham, Accuracy
        and Stability of Numerical Algorithms, §3.1). Counted twice, as two are compared, and twice
        again for the roundings of centring and of the distances that search computes.
        """
        queries = vectors - self._mean
        norms = np.einsum("ij,ij->i", queries, queries)
        squared = np.empty((len(queries), len(self._rows)))
        for start in range(0, len(self._rows), _ROWS):
            part = slice(start, start + _ROWS)
            products = queries @ self._centered(start).T
            squared[:, part] = self._squares[part] + norms[:, np.newaxis] - 2 * products
        longest = np.sqrt(self._squares.max()) + np.sqrt(norms)
        wide = 4 * (vectors.shape[1] + 8) * 2.0**-53 * longest**2
        if len(begin) < len(vectors):
            squared = np.minimum.reduceat(squared, begin, axis=0)
            wide = np.maximum.reduceat(wide, begin)
        return self._nearest_photos(squared[:, self._kind], self._begin), wide

    def _exact(self, queries: F32Matrix, members: Ids) -> F64Vector:
        """Distances of members of the gallery to the nearest of a query's vectors, as search's."""
        begin = self._begin[members]
        times = np.append(self._begin, len(self._kind))[members + 1] - begin
        starts = np.cumsum(times) - times
        entries = np.arange(times.sum()) - np.repeat(starts - begin, times)
        kinds, at = np.unique(self._kind[entries], return_inverse=True)
        distances = np.full(len(kinds), np.inf)
        for start in range(0, len(kinds), _ROWS):
            part = slice(start, start + _ROWS)
            vectors = self.gallery.read(self._rows[kinds[part]])
            for query in queries.astype(np.float64):
                difference = vectors - query
                apart = np.sqrt(np.einsum("ij,ij->i", difference, difference))
                distances[part] = np.minimum(distances[part], apart)
        nearest: F64Vector = self._nearest_photos(distances[np.newaxis, at], starts)[0]
        return nearest

    def _nearest_photos(self, apart: F64Matrix, begin: Ids) -> F64Matrix:
        """(queries, entries) → (queries, owners): an owner is as near as its nearest photo."""
        if len(begin) == apart.shape[1]:
            return apart
        nearest: F64Matrix = np.minimum.reduceat(apart, begin, axis=1)
        return nearest

    def _centered(self, start: int) -> F64Matrix:
        """A block of distinct vectors less their mean: the shorter they are, the surer the sums."""
        return self.gallery.read(self._rows[start : start + _ROWS]) - self._mean

    def _distinct(self, rows: Ids) -> tuple[Ids, Ids, F64Vector]:
        """Return a row for each distinct vector, which of them each row has, and their mean.

        Equal vectors are equally far from everything, whatever the rounding; and a gallery in which
        all are equal would else be one tie, to be compared in full.
        """
        known: dict[bytes, int] = {}
        kind = np.empty(len(rows), np.int64)
        total = np.zeros(self.gallery.read(rows[:1]).shape[1])
        for start in range(0, len(rows), _ROWS):
            vectors = self.gallery.read(rows[start : start + _ROWS])
            total += vectors.sum(axis=0, dtype=np.float64)
            for at, vector in enumerate(vectors, start):
                digest = hashlib.blake2b(vector.tobytes(), digest_size=16).digest()
                kind[at] = known.setdefault(digest, len(known))
        _, first = np.unique(kind, return_index=True)
        return rows[first], kind, total / len(rows)
