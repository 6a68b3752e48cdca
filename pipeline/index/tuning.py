"""Find how far an approximate search has to look, with photos of the index as if they were new.

A query is a row that is not to be found itself. Its true neighbors are searched for exactly; how
many rows are nearer by the order of the clusters, and how many by their codes, says from which
effort on each is found. So one exact search of a photo tells the recall of every effort.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pipeline.index.base import F64Vector, Ids, Neighbors, VectorIndex
from pipeline.index.cluster_probe import ClusterProbe
from pipeline.index.code_filter import spread_rows
from pipeline.index.probing import Level, Probing
from pipeline.index.recall import K, Recall, found_shares

QUERIES = 1000  # photos to measure a recall with
NEIGHBORS = (40, 160, 640, 2560)
"""Of a photo, that tell. The nearest are often other pictures of the same thing, which a new photo
may have none of; the farther ones are as far from it as the nearest are from a new one."""
SHELL = 3 / 4
"""Of the neighbors only the farthest quarter counts, beside the very nearest."""
MAX_NEIGHBORS = 16_000  # of all queries together
MIN_QUERIES = 25
MAX_SHARE = 1 / 16
"""Of the rows that may be neighbors: farther ones are not looked for but exactly."""
LEVELS = 11  # of distances, each of which takes another effort
MAX_SCANNED_SHARE = 1 / 2  # of the rows
CLUSTER_LOSS = 0.7
"""Of what may be missed: so much because its cluster is not looked at, the rest by its code."""
MAX_DEPTH = 32  # times the neighbors: where codes tell less, an exact search is as fast


@dataclass(frozen=True)
class Pairs:
    """Queries, and a neighbor of each."""

    distances: F64Vector
    reaches: F64Vector
    """How far the neighbor's code is, for a distance of 1."""
    before: Ids
    """How many rows are looked at before the neighbor."""

    def take(self, chosen: Ids) -> Pairs:
        """Return some of them."""
        return Pairs(self.distances[chosen], self.reaches[chosen], self.before[chosen])


def tune(exact: VectorIndex, probe: ClusterProbe, promise: float) -> Probing:
    """Return the least effort, for growing distances, that keeps a promise of recall.

    There are no levels where none does: `tune(pruned, pruned.probe, 0.99).levels[0].scanned`.
    """
    counts = [count for count in NEIGHBORS if count <= MAX_SHARE * exact.rows]
    parts = [part for count in counts for part in _pairs(exact, probe, count)]
    return Probing(promise, _levels(parts, promise, int(MAX_SCANNED_SHARE * exact.rows)))


def _levels(parts: Sequence[Pairs], promise: float, limit: int) -> list[Level]:
    if not parts:
        return []
    pairs = Pairs(*(np.concatenate([getattr(p, n) for p in parts]) for n in ("distances","reaches","before")))
    levels: list[Level] = []
    chosen = np.array_split(np.argsort(pairs.distances, kind="stable"), 1 + LEVELS)
    loss = 1 - promise
    # Of what is farther than a level only, so that the farthest of a level are found as well.
    for near, far in pairwise(pairs.take(part) for part in chosen):
        scanned = 1 + int(_quantile(far.before, 1 - CLUSTER_LOSS * loss))
        scanned = max([scanned, *(one.scanned for one in levels)])
        reach = max(_quantile(some.reaches, 1 - (1 - CLUSTER_LOSS) * loss) for some in (near, far))
        if scanned > limit:
            break
        levels.append(Level(float(near.distances.max()), scanned, reach))
    return levels


def _quantile(values, share):
    return float(np.quantile(values, share, method="higher"))


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


def _pairs(exact: VectorIndex, probe: ClusterProbe, neighbors: int) -> list[Pairs]:
    rows = sample_rows(exact.rows)[0]
    rows = rows[spread_rows(len(rows), max(MIN_QUERIES, MAX_NEIGHBORS // neighbors))]
    near = others(exact, rows, neighbors)
    values, _ = probe.encode(exact.vectors(rows))
    shells = [slice(int(SHELL * neighbors), None)]
    if neighbors == NEIGHBORS[0]: shells.append(slice(0,K))
    parts=[]
    for shell in shells:
        d=near.distances[:,shell]
        codes=np.stack([np.sqrt(np.sum((probe.encode(exact.vectors(some))[0] - value) ** 2, axis=1)) for value, some in zip(values, near.rows[:,shell], strict=True)])
        parts.append(Pairs(d.ravel(),(codes/np.maximum(d,1e-300)).ravel(),probe.rows_before(values, near.rows[:,shell]).ravel()))
    return parts
