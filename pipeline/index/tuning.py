"""Find how far an approximate search has to look, with photos of the index as if they were new.

A query is a row that is not to be found itself. Its true neighbors are searched for exactly; how
many rows are nearer by the order of the clusters, and how many by their codes, says from which
effort on each is found. So one exact search of a photo tells the recall of every effort.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pipeline.index.base import F32Matrix, F64Matrix, F64Vector, Ids, Neighbors, VectorIndex
from pipeline.index.cluster_probe import ClusterProbe
from pipeline.index.code_filter import spread_rows
from pipeline.index.probing import Effort, Level
from pipeline.index.recall import K, Recall, found_shares

QUERIES = 1000  # photos to find the effort with, and as many others to measure it
NEIGHBORS = (10, 40, 160, 640, 2560)  # of which an effort is found
MAX_NEIGHBORS = 64_000  # of all queries together: of many neighbors each tells as much
MIN_QUERIES = 50
MAX_SHARE = 1 / 16
"""Of the rows: for more neighbors an exact search is as fast."""
SHELL = 3 / 4
"""Of many neighbors the farthest quarter has to be found: it may be all that a condition allows."""
MAX_SCANNED_SHARE = 1 / 2  # of the rows
MAX_DEPTH = 4
"""Times the neighbors, and 100: where codes tell less, an exact search is as fast."""
CLUSTER_LOSS = 0.7
"""Of what may be missed: so much because its cluster is not looked at, the rest by its code."""


def tune(
    exact: VectorIndex, probe: ClusterProbe, promise: float, queries: int = QUERIES
) -> list[Level]:
    """Return the least effort, for growing numbers of neighbors, that keeps a promise of recall.

    The lower ends of the intervals keep it. There are no levels where none does:
    `tune(pruned, pruned.probe, 0.99)[0].scanned`.
    """
    levels = []
    rows = sample_rows(exact.rows, queries)[0]
    for neighbors in NEIGHBORS:
        if neighbors > MAX_SHARE * exact.rows:
            break
        count = max(MIN_QUERIES, MAX_NEIGHBORS // neighbors)
        level = _level(exact, probe, rows[:: -(-len(rows) // count)], neighbors, promise)
        if level is None:
            break
        levels.append(level)
    return levels


def measure(
    exact: VectorIndex, index: VectorIndex, rows: Ids | None = None, k: int = K
) -> Recall | None:
    """Return the recall of an index, compared with an exact one, for some rows as queries.

    By default those that `tune` does not use. None if the index has no rows to find.
    """
    rows = sample_rows(exact.rows)[1] if rows is None else rows
    k = min(k, exact.rows - 1)
    if k < 1 or not len(rows):
        return None
    found, nearest = others(index, rows, k), others(exact, rows, k)
    return Recall.of(found_shares(found.distances, nearest.distances), k)


def sample_rows(rows: int, queries: int = QUERIES) -> tuple[Ids, Ids]:
    """Return rows to find an effort with, and others to measure it, spread over all rows."""
    spread = spread_rows(rows, 2 * queries)
    return spread[::2], spread[1::2]


def others(index: VectorIndex, rows: Ids, k: int) -> Neighbors:
    """Return the k nearest of some rows, other than themselves."""
    found = index.search(index.vectors(rows), k + 1)
    is_itself = found.rows == rows[:, np.newaxis]
    order = np.argsort(is_itself, axis=1, kind="stable")[:, :k]
    return Neighbors(
        np.take_along_axis(found.distances, order, axis=1),
        np.take_along_axis(found.rows, order, axis=1),
        found.verified,
    )


def _level(
    exact: VectorIndex, probe: ClusterProbe, rows: Ids, neighbors: int, promise: float
) -> Level | None:
    queries = exact.vectors(rows)
    values, _ = probe.encode(queries)
    nearest = others(exact, rows, neighbors)
    first = 0 if neighbors == NEIGHBORS[0] else int(SHELL * neighbors)
    before = probe.rows_before(values, nearest.rows[:, first:])
    scanned = _least(
        int(MAX_SCANNED_SHARE * exact.rows),
        lambda limit: (before < limit).mean(axis=1),
        before.shape[1],
        1 - CLUSTER_LOSS * (1 - promise),
    )
    if scanned is None:
        return None
    max_depth = min(MAX_DEPTH * neighbors + 100, exact.rows)
    proposed = probe.propose(values, Effort(scanned, max_depth)).rows
    distances = _distances(exact, queries, proposed)
    is_near = (distances <= nearest.distances[:, -1:]) & (proposed != rows[:, np.newaxis])
    found = np.minimum(np.cumsum(is_near, axis=1), neighbors) / neighbors
    depth = _least(max_depth, lambda limit: found[:, limit - 1], neighbors, promise)
    return depth and Level(neighbors, scanned, depth)  # type: ignore[return-value]


def _least(
    limit: int, shares: Callable[[int], F64Vector], neighbors: int, promise: float
) -> int | None:
    """The least effort, up to a limit, whose recall is the promised one for certain."""

    def is_kept(effort: int) -> bool:
        return Recall.of(shares(effort), neighbors).low >= promise

    low, high = 1, limit
    if high < 1 or not is_kept(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if is_kept(middle) else (middle + 1, high)
    return high


def _distances(index: VectorIndex, queries: F32Matrix, rows: Ids) -> F64Matrix:
    """(n, m): how far the rows are from each query; of row -1, infinitely."""
    distances = np.full(rows.shape, np.inf)
    for i, query in enumerate(queries.astype(np.float64)):
        is_row = rows[i] >= 0
        difference = index.vectors(rows[i][is_row]) - query
        distances[i, is_row] = np.sqrt(np.einsum("ij,ij->i", difference, difference))
    return distances
