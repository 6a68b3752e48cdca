"""Codes of the clusters that are nearest to a query: what an approximate search looks at."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.index.base import F32Matrix, Ids, Mask
from pipeline.index.bounds import Coder
from pipeline.index.probing import Effort
from pipeline.index.vectors import import_faiss, selector

MAX_ERROR = 2  # times the largest of the index's own: a query's code may be so much farther off
SPARE_CLUSTERS = 1.5  # times as many as an average query needs are ordered at first


class ClusterProbe:
    """Proposes rows by their codes, from the clusters nearest to a query until those have enough.

    Enough is a number of rows, not of clusters: a query takes the same time wherever it lies. Under
    a condition only allowed rows count, so that a search goes on where they are rare.
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

    def propose(self, values: F32Matrix, effort: Effort, allowed: Ids | None = None) -> Ids:
        """(n, length) codes → (n, depth): the rows of the nearest codes, -1 where there are fewer.

        Looked at are the nearest clusters that have `effort.scanned` rows together, of the allowed
        ones, which are ascending and distinct.
        """
        faiss = import_faiss()
        scanned, depth = effort
        sizes, selected = self._sizes, None
        if allowed is not None:
            sizes = self._count(self._clusters[allowed])
            selected = selector(allowed, self._rows)
        probes = self._nearest_clusters(values, sizes, max(scanned, depth))
        parameters = faiss.SearchParametersIVF(nprobe=probes.shape[1], sel=selected)
        squares = np.empty((len(values), depth), np.float32)
        rows = np.empty((len(values), depth), np.int64)
        unused = np.zeros(probes.shape, np.float32)  # distances of centroids: codes are absolute
        arrays = [faiss.swig_ptr(one) for one in (probes, unused, squares, rows)]
        self._index.search_preassigned_c(
            len(values), faiss.swig_ptr(values), depth, *arrays, False, parameters
        )
        return rows

    def rows_before(self, values: F32Matrix, rows: Ids) -> Ids:
        """(n, length) codes, (n, m) rows → (n, m): how many rows are looked at before each.

        A row is proposed only if `scanned` is greater.
        """
        _, order = self._index.quantizer.search(values, self._index.nlist)
        sizes = self._sizes[order]
        before = np.empty_like(order)
        np.put_along_axis(before, order, np.cumsum(sizes, axis=1) - sizes, axis=1)
        return np.take_along_axis(before, self._clusters[rows].astype(np.int64), axis=1)

    def _nearest_clusters(self, values: F32Matrix, sizes: Ids, wanted: int) -> Ids:
        """(n, p): the nearest clusters that have so many rows together; -1 behind those."""
        clusters = len(sizes)
        count = 1 + int(SPARE_CLUSTERS * wanted * clusters / max(1, sizes.sum()))
        while True:
            count = min(count, clusters)
            _, order = self._index.quantizer.search(values, count)
            reached = np.cumsum(sizes[order], axis=1)
            if count == clusters or reached[:, -1].min() >= wanted:
                break
            count *= 4
        is_needed = reached - sizes[order] < wanted
        probes = np.where(is_needed & (sizes[order] > 0), order, -1)
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

    def _count(self, clusters: npt.NDArray[np.int32]) -> Ids:
        return np.bincount(clusters, minlength=self._index.nlist)
