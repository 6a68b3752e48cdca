"""Codes of the clusters that are near a query: what an approximate search looks at."""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.index.base import F32Matrix, F32Vector, Ids, Mask
from pipeline.index.bounds import Coder
from pipeline.index.vectors import import_faiss, selector

MAX_ERROR = 2  # times the largest of the index's own: a query's code may be so much farther off
PROPOSED_ROWS = 1024  # among which the nearest codes are looked for at first
SPARE_CLUSTERS = 1.5  # times as many as hold so many rows on average are ordered at first


class Selection(NamedTuple):
    """Which rows a search may find."""

    selector: Any
    """FAISS's."""
    sizes: Ids
    """(clusters,): how many of them are in each."""


class ClusterProbe:
    """Finds rows by their codes, in the clusters whose centers are near a query."""

    def __init__(self, coder: Coder, error: float, index: Any, rows: int) -> None:
        """Take FAISS's lists of the codes of so many rows; none is farther off than `error`."""
        self._coder, self._error, self._index, self._rows = coder, error, index, rows

    def encode(self, queries: F32Matrix) -> tuple[F32Matrix, Mask]:
        """(n, dim) float32 → (n, length) codes as float32, and (n,) whether codes can tell.

        They cannot of a query that is far from all that is in the index: its code is cut off.
        """
        codes = self._coder.codes(self._coder.project_queries(queries))
        return codes.values.astype(np.float32), codes.errors <= MAX_ERROR * self._error

    def select(self, allowed: Ids | None) -> Selection:
        """Count the allowed rows, ascending and distinct, of each cluster; None: all rows."""
        if allowed is None:
            return Selection(None, self._sizes)
        sizes = np.bincount(self._clusters[allowed], minlength=len(self._sizes))
        return Selection(selector(allowed, self._rows), sizes)

    def propose(self, values: F32Matrix, count: int, selection: Selection) -> Ids:
        """Return, for (n, length) codes, selected rows that have near codes.

        (n, count), by the distance of their codes; -1 where fewer are selected. Looked at are the
        nearest clusters that have about a thousand rows together, and `count` selected ones.
        """
        faiss = import_faiss()
        probes = self._nearest_clusters(values, count, selection.sizes)
        squares = np.empty((len(values), count), np.float32)
        rows = np.empty((len(values), count), np.int64)
        self._index.search_preassigned_c(
            len(values),
            faiss.swig_ptr(values),
            count,
            *_pointers(probes),
            faiss.swig_ptr(squares),
            faiss.swig_ptr(rows),
            False,
            faiss.SearchParametersIVF(nprobe=probes.shape[1], sel=selection.selector),
        )
        return rows

    def within(
        self, value: F32Matrix, reach: float, radius: float, selection: Selection
    ) -> tuple[Ids, F32Vector]:
        """Return the selected rows whose codes are no farther than `reach`, nearest first.

        For a (1, length) code; with the squared distances of their codes. Looked at are the
        clusters whose centers are no farther than `radius`.
        """
        faiss = import_faiss()
        probes = self._clusters_within(value, radius, selection.sizes)
        found = faiss.RangeSearchResult(1)
        self._index.range_search_preassigned_c(
            1,
            faiss.swig_ptr(value),
            float(np.nextafter(np.float32(reach**2), np.float32(np.inf))),
            *_pointers(probes),
            found,
            False,
            faiss.SearchParametersIVF(nprobe=probes.shape[1], sel=selection.selector),
        )
        count = int(faiss.rev_swig_ptr(found.lims, 2)[1])
        rows = faiss.rev_swig_ptr(found.labels, count).copy()
        squares = faiss.rev_swig_ptr(found.distances, count).copy()
        order = np.lexsort((rows, squares))
        return rows[order], squares[order]

    def center_distances(self, values: F32Matrix, rows: Ids) -> F32Matrix:
        """(n, length) codes, (n, m) rows → (n, m): how far the centers of their clusters are.

        A row is found only if `radius` is no less.
        """
        squares, order = self._index.quantizer.search(values, self._index.nlist)
        distances = np.empty_like(squares)
        np.put_along_axis(distances, order, np.sqrt(squares), axis=1)
        return np.take_along_axis(distances, self._clusters[rows].astype(np.int64), axis=1)

    def _nearest_clusters(self, values: F32Matrix, count: int, selected: Ids) -> Ids:
        """(n, p): the nearest clusters that have enough rows and selected ones; -1 elsewhere."""
        clusters = 1 + int(SPARE_CLUSTERS * PROPOSED_ROWS * len(self._sizes) / self._rows)
        while True:
            clusters = min(clusters, len(self._sizes))
            _, order = self._index.quantizer.search(values, clusters)
            is_needed = _before(self._sizes[order]) < PROPOSED_ROWS
            is_needed |= _before(selected[order]) < count
            if clusters == len(self._sizes) or not is_needed[:, -1].any():
                break
            clusters *= 4
        probes = np.where(is_needed & (selected[order] > 0), order, -1)
        return np.ascontiguousarray(probes[:, : is_needed.sum(axis=1).max()])

    def _clusters_within(self, value: F32Matrix, radius: float, selected: Ids) -> Ids:
        """(1, p): for a (1, length) code, the near clusters that have selected rows, or -1."""
        squares, order = self._index.quantizer.search(value, len(self._sizes))
        near: Ids = order[(squares <= radius**2) & (selected[order] > 0)][np.newaxis]
        return near if near.size else np.full((1, 1), -1)

    @cached_property
    def _clusters(self) -> npt.NDArray[np.int32]:
        """(rows,): the cluster of each row."""
        faiss = import_faiss()
        clusters = np.empty(self._rows, np.int32)
        for cluster, size in enumerate(self._sizes.tolist()):
            if size:
                ids = self._index.invlists.get_ids(cluster)
                clusters[faiss.rev_swig_ptr(ids, size)] = cluster
        return clusters

    @cached_property
    def _sizes(self) -> Ids:
        """(clusters,): how many rows each has."""
        lists = self._index.invlists
        return np.array([lists.list_size(one) for one in range(self._index.nlist)], np.int64)


def _pointers(probes: Ids) -> tuple[Any, Any]:
    """For FAISS: clusters, and their distances, which are not used as codes are absolute."""
    faiss = import_faiss()
    return faiss.swig_ptr(probes), faiss.swig_ptr(np.zeros(probes.shape, np.float32))


def _before(sizes: Ids) -> Ids:
    """(n, p) sizes of clusters in some order → (n, p): how many rows lie in those before each."""
    before: Ids = np.cumsum(sizes, axis=1) - sizes
    return before
