"""Approximate search with a promise of recall: few codes propose rows, their vectors decide.

Only the clusters of codes that are nearest to a query are looked at. The rows of the nearest codes
there are compared in full, so every distance is exact; what may be missing are rows. How far to
look was found with photos of the index itself (`tuning`). Where that is nearly everywhere, the
search is exact: if few rows are allowed, or many are asked for, or a query is unlike all that is
indexed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from pipeline.artifacts import read_file
from pipeline.index.base import Answer, F32Matrix, F32Vector, Ids, Neighbors, VectorIndex, joined
from pipeline.index.cluster_probe import ClusterProbe, Selection
from pipeline.index.code_filter import Clustering, proposed_count
from pipeline.index.probing import PROBING_FILE, Level, Probing
from pipeline.index.pruned import DEFAULTS, PrunedIndex, PruningOptions, write_pruned
from pipeline.index.tuning import code_distances, sample_pairs, tune
from pipeline.index.vectors import VectorFile, distinct, import_faiss


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
    _tune(PrunedIndex(folder, file, flat, options), file, promise).save(folder)


def _tune(exact: PrunedIndex, file: VectorFile, promise: float) -> Probing:
    """Find how far to look; where there are no codes, the search is exact."""
    probe = exact.probe
    if probe is None:
        return Probing(promise, [])
    pairs = sample_pairs(exact, lambda rows, near, _: code_distances(exact, probe, rows, near))

    def with_levels(levels: Sequence[Level]) -> PromisedIndex:
        return PromisedIndex(exact, file, Probing(promise, levels))

    return Probing(promise, *tune(with_levels, exact, pairs, promise))


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
        self._exact, self._file, self.probing = exact, file, probing

    def search(self, queries: F32Matrix, k: int, allowed: Ids | None = None) -> Neighbors:
        """Return near rows by (distance, row): always k, if k are allowed."""
        import_faiss()  # this may be another thread than the one that opened the index
        queries = np.ascontiguousarray(queries, np.float32)
        if allowed is not None:
            allowed = distinct(allowed, self.rows)
            allowed = None if len(allowed) == self.rows else allowed
        available = self.rows if allowed is None else len(allowed)
        k, probe = min(k, available), self._exact.probe
        if probe is None or not k or not len(queries) or available < self._exact.min_coded_rows:
            return self._exact.search(queries, k, allowed)
        answers = self._answers(probe, queries, k, allowed)
        return joined(answers, queries, k, lambda rest: self._exact.search(rest, k, allowed))

    def _answers(
        self, probe: ClusterProbe, queries: F32Matrix, k: int, allowed: Ids | None
    ) -> Iterator[Answer | None]:
        """Look into few clusters, and then as far as what was found there is away.

        So a query takes longer that is unlike what is indexed, or far from what a condition allows.
        """
        count = proposed_count(k)
        if not self.probing.levels or count > (self.rows if allowed is None else len(allowed)):
            yield from (None for _ in queries)
            return
        values, is_coded = probe.encode(queries)
        selection = probe.select(allowed)
        proposed = probe.propose(values, count, selection)
        for i, query in enumerate(queries):
            value = values[i : i + 1]
            if is_coded[i]:
                yield self._answer(probe, query, value, proposed[i], k, selection)
            else:
                yield None

    def _answer(
        self,
        probe: ClusterProbe,
        query: F32Vector,
        value: F32Matrix,
        proposed: Ids,
        k: int,
        selection: Selection,
    ) -> Answer | None:
        """Answer a query with a (1, length) code, unless what is found is too far away."""
        limit = self._file.limit(query, proposed, k)
        level = self.probing.level(limit)
        reach = level.reach * min(limit, level.distance)
        rows, squares = probe.within(value, reach, level.effort, selection)
        if len(nearest := rows[: len(proposed)]) >= k:  # they may be nearer than what was proposed
            limit = min(limit, self._file.limit(query, nearest, k))
        if limit > level.distance:
            return None
        rows = rows[: np.searchsorted(squares, (level.reach * limit) ** 2, side="right")]
        rows = np.unique(np.concatenate([proposed, nearest, rows]))  # the order on the disk
        return *self._file.nearest(query, rows, k), len(rows)
