"""Find how far an approximate search has to look, with photos of the index as if they were new.

A query is a row that is not to be found itself. Its true neighbors are searched for exactly; how
many rows are nearer by the order of the clusters, and how many by their codes, says from which
effort on each is found. So one exact search of a photo tells the recall of every effort.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np

from pipeline.index.base import F32Matrix, F32Vector, F64Matrix, Ids, Neighbors, VectorIndex
from pipeline.index.cluster_probe import ClusterProbe
from pipeline.index.code_filter import spread_rows
from pipeline.index.probing import Level, Probing
from pipeline.index.recall import K, Recall, found_shares

QUERIES = 1000  # photos to find the effort with, and as many others to measure it
NEIGHBORS = (10, 40, 160, 640)
"""Of a photo, that tell. The nearest are often other pictures of the same thing, which a new photo
may have none of; the farther ones are as far from it as the nearest are from a new one."""
MAX_NEIGHBORS = 32_000  # of all queries together
MIN_QUERIES = 50
SHELL = 3 / 4
"""Only the farthest quarter of the neighbors counts, but of the fewest all."""
MAX_SHARE = 1 / 16
"""Of the rows that may be neighbors: farther ones are not looked for but exactly."""
LEVELS = 11  # of distances, each of which takes another effort
MAX_SCANNED_SHARE = 1 / 2  # of the rows
CLUSTER_LOSS = 0.7
"""Of what may be missed: so much because its cluster is not looked at, the rest by its code."""
DEPTH_NEIGHBORS = (10, 40)
DEPTH_QUERIES = 300
MAX_DEPTH = 32  # times the neighbors: where codes tell less, an exact search is as fast


@dataclass(frozen=True)
class Pairs:
    """Neighbors of some queries: which query, how far the code is, how much is looked at before."""

    queries: Ids
    squares: F32Vector
    before: Ids

    def take(self, chosen: Ids) -> Pairs:
        """Return some of them."""
        return Pairs(self.queries[chosen], self.squares[chosen], self.before[chosen])

    def recall(self, scanned: int) -> Recall:
        """The share that is found if so many rows are looked at."""
        _, query = np.unique(self.queries, return_inverse=True)
        counts = np.bincount(query)
        return Recall.of(np.bincount(query, self.before < scanned) / counts, counts)


def tune(exact: VectorIndex, probe: ClusterProbe, promise: float) -> Probing:
    """Return the least effort, for growing distances, that keeps a promise of recall.

    The lower ends of the intervals keep it. There are no levels where none does:
    `tune(pruned, pruned.probe, 0.99).levels[0].scanned`.
    """
    rows = sample_rows(exact.rows)[0]
    counts = [count for count in NEIGHBORS if count <= MAX_SHARE * exact.rows]
    spare_rows = _spare_rows(exact, probe, rows, 1 - (1 - CLUSTER_LOSS) * (1 - promise))
    if not counts or spare_rows is None:
        return Probing(promise, [])
    pairs = _joined([_pairs(exact, probe, rows, count) for count in counts])
    levels: list[Level] = []
    parts = np.array_split(np.argsort(pairs.squares, kind="stable"), 1 + LEVELS)
    # Of what is farther than a level only, so that the farthest of a level are found as well.
    for nearer, farther in pairwise(pairs.take(part) for part in parts):
        limit = int(MAX_SCANNED_SHARE * exact.rows)
        scanned = _least(limit, farther.recall, 1 - CLUSTER_LOSS * (1 - promise))
        if scanned is None:
            break
        scanned = max([scanned, *(one.scanned for one in levels)])
        levels.append(Level(float(nearer.squares.max()), scanned))
    return Probing(promise, levels, spare_rows)


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


def _pairs(exact: VectorIndex, probe: ClusterProbe, rows: Ids, neighbors: int) -> Pairs:
    rows = _some(rows, max(MIN_QUERIES, MAX_NEIGHBORS // neighbors))
    first = 0 if neighbors == NEIGHBORS[0] else int(SHELL * neighbors)
    near = others(exact, rows, neighbors).rows[:, first:]
    values, _ = probe.encode(exact.vectors(rows))
    squares = [
        np.sum((probe.encode(exact.vectors(some))[0] - value) ** 2, axis=1)
        for value, some in zip(values, near, strict=True)
    ]
    before = probe.rows_before(values, near)
    return Pairs(np.repeat(rows, near.shape[1]), np.concatenate(squares), before.ravel())


def _joined(parts: Sequence[Pairs]) -> Pairs:
    return Pairs(
        np.concatenate([part.queries for part in parts]),
        np.concatenate([part.squares for part in parts]),
        np.concatenate([part.before for part in parts]),
    )


def _spare_rows(exact: VectorIndex, probe: ClusterProbe, rows: Ids, promise: float) -> int | None:
    """How many rows come among the neighbors, in the order of codes, that are none."""
    rows = _some(rows, DEPTH_QUERIES)
    queries = exact.vectors(rows)
    values, _ = probe.encode(queries)
    spare = []
    for neighbors in DEPTH_NEIGHBORS:
        limit = min(MAX_DEPTH * neighbors, exact.rows)
        nearest = others(exact, rows, min(neighbors, exact.rows - 1))
        proposed = probe.propose(values, limit, np.full(len(rows), exact.rows)).rows
        distances = _distances(exact, queries, proposed)
        is_near = (distances <= nearest.distances[:, -1:]) & (proposed != rows[:, np.newaxis])
        shares = np.minimum(np.cumsum(is_near, axis=1) / nearest.rows.shape[1], 1)
        depth = _least(limit, partial(_recall_at, shares, neighbors), promise)
        if depth is None:
            return None
        spare.append(depth - neighbors)
    return max(spare)


def _recall_at(shares: F64Matrix, neighbors: int, depth: int) -> Recall:
    return Recall.of(shares[:, depth - 1], neighbors)


def _least(limit: int, recall: Callable[[int], Recall], promise: float) -> int | None:
    """The least effort, up to a limit, whose recall is the promised one for certain."""
    low, high = 1, limit
    if high < 1 or recall(high).low < promise:
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if recall(middle).low >= promise else (middle + 1, high)
    return high


def _some(rows: Ids, count: int) -> Ids:
    return rows[spread_rows(len(rows), count)]


def _distances(index: VectorIndex, queries: F32Matrix, rows: Ids) -> F64Matrix:
    """(n, m): how far the rows are from each query; of row -1, infinitely."""
    distances = np.full(rows.shape, np.inf)
    for i, query in enumerate(queries.astype(np.float64)):
        is_row = rows[i] >= 0
        difference = index.vectors(rows[i][is_row]) - query
        distances[i, is_row] = np.sqrt(np.einsum("ij,ij->i", difference, difference))
    return distances
