"""Codes of the clusters that are nearest to a query: what an approximate search looks at."""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.index.base import F32Matrix, Ids, Mask
from pipeline.index.bounds import Coder
from pipeline.index.vectors import import_faiss, selector

MAX_ERROR = 2  # times the largest of the index's own: a query's code may be so much farther off
SPARE_CLUSTERS = 1.5  # times as many as an average query needs are ordered at first


class Selection(NamedTuple):
    """Which rows a search may find."""

    selector: Any
    """FAISS's."""
    sizes: Ids
    """(clusters,): how many of them are in each."""


class Proposals(NamedTuple):
    """What was found in the clusters that were looked at."""

    rows: Ids
    """(n, depth), by the distance of their codes; -1 where there are fewer."""
    squares: F32Matrix
    """(n, depth): the squared distances of the codes."""


class ClusterProbe:
    """Proposes rows by their codes, from the clusters nearest to a query until those have enough.

    Enough is a number of rows, not of clusters: a query takes the same time wherever it lies.
    """

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

    def propose(
        self, values: F32Matrix, depth: int, scanned: Ids, selection: Selection | None = None
    ) -> Proposals:
        """Return, for (n, length) codes, the selected rows that have the nearest codes.

        Looked at are the nearest clusters that have `scanned` rows together, (n,), and `depth`
        selected ones if there are so many.
        """
        faiss = import_faiss()
        selection = selection or self.select(None)
        probes = self._nearest_clusters(values, depth, scanned, selection.sizes)
        parameters = faiss.SearchParametersIVF(nprobe=probes.shape[1], sel=selection.selector)
        squares = np.empty((len(values), depth), np.float32)
        rows = np.empty((len(values), depth), np.int64)
        unused = np.zeros(probes.shape, np.float32)  # distances of centroids: codes are absolute
        arrays = [faiss.swig_ptr(one) for one in (probes, unused, squares, rows)]
        self._index.search_preassigned_c(
            len(values), faiss.swig_ptr(values), depth, *arrays, False, parameters
        )
        return Proposals(rows, squares)

    def rows_before(self, values: F32Matrix, rows: Ids) -> Ids:
        """(n, length) codes, (n, m) rows → (n, m): how many rows are looked at before each.

        A row is proposed only if `scanned` is greater.
        """
        _, order = self._index.quantizer.search(values, self._index.nlist)
        before = np.empty_like(order)
        np.put_along_axis(before, order, _before(self._sizes[order]), axis=1)
        return np.take_along_axis(before, self._clusters[rows].astype(np.int64), axis=1)

    def _nearest_clusters(self, values: F32Matrix, depth: int, scanned: Ids, selected: Ids) -> Ids:
        """(n, p): the nearest clusters that have enough rows and selected ones; -1 behind."""
        count = 1 + int(SPARE_CLUSTERS * int(scanned.max()) * len(self._sizes) / self._rows)
        while True:
            count = min(count, len(self._sizes))
            _, order = self._index.quantizer.search(values, count)
            is_needed = _before(self._sizes[order]) < scanned[:, np.newaxis]
            is_needed |= _before(selected[order]) < depth
            if count == len(self._sizes) or not is_needed[:, -1].any():
                break
            count *= 4
        probes = np.where(is_needed, order, -1)
        return np.ascontiguousarray(probes[:, : is_needed.sum(axis=1).max()])

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


def _before(sizes: Ids) -> Ids:
    """(n, p) sizes of clusters in some order → (n, p): how many rows lie in those before each."""
    before: Ids = np.cumsum(sizes, axis=1) - sizes
    return before
