"""Approximate search with a promise of recall: few codes propose rows, their vectors decide.

Only the clusters of codes that are nearest to a query are looked at. The rows of the nearest codes
there are compared in full, so every distance is exact; what may be missing are rows. How far to
look was found with photos of the index itself (`tuning`). Where that is nearly everywhere, the
search is exact: if few rows are allowed, or many are asked for, or a query is unlike all that is
indexed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pipeline.artifacts import read_file
from pipeline.index.base import F32Matrix, F32Vector, Ids, Neighbors, VectorIndex
from pipeline.index.cluster_probe import ClusterProbe, Selection
from pipeline.index.code_filter import Clustering
from pipeline.index.probing import PROBING_FILE, Probing
from pipeline.index.pruned import (
    DEFAULTS,
    Answer,
    PrunedIndex,
    PruningOptions,
    joined,
    write_pruned,
)
from pipeline.index.tuning import measure, tune
from pipeline.index.vectors import VectorFile, distinct, import_faiss

SPARE_NEIGHBORS = 2
"""Under a condition, times as many neighbors of all rows are looked for as are thought needed."""
MAX_ROUNDS = 3  # before the search is an exact one


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
    Probing(promise, levels, measure(exact, index) if levels else None).save(folder)


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

    def __init__(self, exact: PrunedIndex, file: VectorFile, probing: Probing) -> None:
        """Take an index with its vectors; closing this closes it."""
        self.rows, self.dim = exact.rows, exact.dim
        self.vectors, self.close = exact.vectors, exact.close
        self._exact, self._file, self._probing = exact, file, probing

    def search(self, queries: F32Matrix, k: int, allowed: Ids | None = None) -> Neighbors:
        """Return near rows by (distance, row): always k, if k are allowed."""
        import_faiss()  # this may be another thread than the one that opened the index
        queries = np.ascontiguousarray(queries, np.float32)
        if allowed is not None:
            allowed = distinct(allowed, self.rows)
            allowed = None if len(allowed) == self.rows else allowed
        available = self.rows if allowed is None else len(allowed)
        k, probe = min(k, available), self._exact.probe
        if probe is None or not k or available < self._exact.min_coded_rows:
            return self._exact.search(queries, k, allowed)
        if allowed is None:
            answers = self._answers(probe, queries, k)
        else:
            answers = self._allowed_answers(probe, queries, k, allowed)
        return joined(answers, queries, k, lambda rest: self._exact.search(rest, k, allowed))

    def _answers(self, probe: ClusterProbe, queries: F32Matrix, k: int) -> Iterator[Answer | None]:
        effort = self._probing.effort(k, k)
        if effort is None:
            yield from (None for _ in queries)
            return
        values, is_coded = probe.encode(queries)
        proposed = probe.propose(values, effort).rows
        for query, rows, answers in zip(queries, proposed, is_coded.tolist(), strict=True):
            yield self._nearest(query, rows, k) if answers else None

    def _allowed_answers(
        self, probe: ClusterProbe, queries: F32Matrix, k: int, allowed: Ids
    ) -> Iterator[Answer | None]:
        selection = probe.select(allowed)
        expected = SPARE_NEIGHBORS * k * self.rows / len(allowed)
        values, is_coded = probe.encode(queries)
        for i, query in enumerate(queries):
            rows = None
            if is_coded[i]:
                rows = self._allowed_rows(probe, values[i : i + 1], k, expected, selection)
            yield None if rows is None else self._nearest(query, rows, k)

    def _allowed_rows(
        self, probe: ClusterProbe, value: F32Matrix, k: int, neighbors: float, selection: Selection
    ) -> Ids | None:
        """Look on until the k nearest allowed rows are among as many of all as are looked for.

        What a condition allows may be far from a query, behind many rows that it does not allow.
        """
        for _ in range(MAX_ROUNDS):
            effort = self._probing.effort(k, neighbors)
            if effort is None:
                break
            found = probe.propose(value, effort, selection)
            nearer = probe.count_nearer(
                value, float(found.squares[0, k - 1]), int(found.clusters[0])
            )
            if nearer <= neighbors:
                rows: Ids = found.rows[0]
                return rows
            neighbors = SPARE_NEIGHBORS * nearer
        return None

    def _nearest(self, query: F32Vector, rows: Ids, k: int) -> Answer:
        rows = np.sort(rows[rows >= 0])  # the order on the disk
        return *self._file.nearest(query, rows, k), len(rows)
