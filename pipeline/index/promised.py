"""Approximate search with a promise of recall: few codes propose rows, their vectors decide.

Only the clusters of codes that are nearest to a query are looked at. The rows of the nearest codes
there are compared in full, so every distance is exact; what may be missing are rows. How far to
look was found with photos of the index itself (`tuning`). Where that is nearly everywhere, the
search is exact: if few rows are allowed, or many are asked for, or a query is unlike all that is
indexed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.artifacts import read_file
from pipeline.index.base import F32Matrix, F64Matrix, Ids, Neighbors, VectorIndex
from pipeline.index.cluster_probe import ClusterProbe
from pipeline.index.code_filter import Clustering
from pipeline.index.probing import PROBING_FILE, Effort, Probing
from pipeline.index.pruned import DEFAULTS, PrunedIndex, PruningOptions, write_pruned
from pipeline.index.tuning import measure, tune
from pipeline.index.vectors import VectorFile, distinct, import_faiss

QUERY_BLOCK = 256  # queries answered at a time


def write_promised(
    folder: Path,
    file: VectorFile,
    flat: VectorIndex,
    promise: float,
    options: PruningOptions = DEFAULTS,
) -> None:
    """Write codes of a file's vectors into a folder, and how far to look to keep a promise.

    Raises:
        OSError: the files cannot be written.
    """
    write_pruned(folder, file, options, clustering=Clustering.fine(file.rows))
    exact = PrunedIndex(folder, file, flat, options)
    levels = tune(exact, exact.probe, promise) if exact.probe else []
    index = PromisedIndex(exact, file, Probing(promise, levels))
    Probing(promise, levels, measure(exact, index)).save(folder)


def open_promised(
    folder: Path, file: VectorFile, flat: VectorIndex, options: PruningOptions = DEFAULTS
) -> PromisedIndex:
    """Open what `write_promised` wrote into a folder.

    Raises:
        DamagedArtifactError: its files are something else.
    """
    exact = PrunedIndex(folder, file, flat, options)
    probing = Probing.parse(folder / PROBING_FILE, read_file(folder / PROBING_FILE))
    return PromisedIndex(exact, file, probing)


class PromisedIndex:
    """A pruned index that looks only as far as a promise of recall needs."""

    def __init__(
        self,
        exact: PrunedIndex,
        file: VectorFile,
        probing: Probing,
        *,
        query_block: int = QUERY_BLOCK,
    ) -> None:
        """Take an index with its vectors; closing this closes it."""
        self.rows, self.dim = exact.rows, exact.dim
        self.vectors, self.close = exact.vectors, exact.close
        self._exact, self._file, self._probing = exact, file, probing
        self._query_block = query_block

    def search(self, queries: F32Matrix, k: int, allowed: Ids | None = None) -> Neighbors:
        """Return near rows by (distance, row): always k, if k are allowed."""
        import_faiss()  # this may be another thread than the one that opened the index
        queries = np.ascontiguousarray(queries, np.float32)
        if allowed is not None:
            allowed = distinct(allowed, self.rows)
            allowed = None if len(allowed) == self.rows else allowed
        available = self.rows if allowed is None else len(allowed)
        k, probe = min(k, available), self._exact.probe
        effort = self._probing.effort(k, available / self.rows) if k else None
        if probe is None or effort is None or available < self._exact.min_coded_rows:
            return self._exact.search(queries, k, allowed)
        parts = [
            self._search(probe, queries[start : start + self._query_block], k, effort, allowed)
            for start in range(0, max(1, len(queries)), self._query_block)
        ]
        return Neighbors(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def _search(
        self, probe: ClusterProbe, queries: F32Matrix, k: int, effort: Effort, allowed: Ids | None
    ) -> tuple[F64Matrix, Ids, Ids]:
        distances, rows = np.empty((len(queries), k)), np.empty((len(queries), k), np.int64)
        verified = np.empty(len(queries), np.int64)
        values, is_coded = probe.encode(queries)
        coded, others = np.flatnonzero(is_coded), np.flatnonzero(~is_coded)
        if len(others):
            found = self._exact.search(queries[others], k, allowed)
            distances[others], rows[others] = found.distances, found.rows
            verified[others] = found.verified
        if len(coded):
            proposed = np.sort(probe.propose(values[coded], effort, allowed), axis=1)
            for i, sorted_ in zip(coded.tolist(), proposed, strict=True):
                near = sorted_[np.searchsorted(sorted_, 0) :]  # without the -1 of fewer rows
                distances[i], rows[i] = self._file.nearest(queries[i], near, k)
                verified[i] = len(near)
        return distances, rows, verified
