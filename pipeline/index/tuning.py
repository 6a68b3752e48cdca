"""Find how far an approximate search has to look, with photos of the index as if they were new.

A query is a row that is not to be found itself. Its true neighbors are searched for exactly; how
far the centers of their clusters are, and their codes, says from which effort on each is found. So
one exact search of a photo tells the recall of every effort. As both are distances, what is found
holds whether few rows or many are nearer than a neighbor, and whatever a condition leaves out.
(Where only the order of clusters is known, as of Milvus's lists, it holds without conditions.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np

from pipeline.index.base import F64Matrix, F64Vector, Ids, Neighbors, VectorIndex
from pipeline.index.cluster_probe import ClusterProbe
from pipeline.index.code_filter import spread_rows
from pipeline.index.probing import Level
from pipeline.index.recall import K, Recall, found_shares

QUERIES = 500  # photos at most to find the effort with, and as many others to measure the recall
NEIGHBORS = {160: 200, 640: 60, 2560: 25, 10240: 12}
"""Of how many photos. The nearest are often other pictures of the same thing, which a new photo may
have none of; the farther ones are as far from it as the nearest are from a new one."""
RANKS = 30  # of the neighbors of a photo are looked at
MAX_SHARE = 1 / 16
"""Of the rows that may be neighbors: farther ones are not looked for but exactly."""
LEVELS = 16  # of distances, each of which takes another effort
LOSS_SHARES = (1, 1 / 2, 1 / 4)  # of what may be missed: tried until the promise is kept

EffortOf = Callable[[Ids, Ids, int], tuple[F64Matrix, F64Matrix]]
"""What it takes to find neighbors: (n,) rows, (n, m) others that are among so many nearest → (n, m)
distances of their codes, and efforts, as `Level` has them."""


@dataclass(frozen=True)
class Pairs:
    """Photos, each with one of its neighbors."""

    distances: F64Vector
    reaches: F64Vector
    """How far the neighbor's code is, for a distance of 1."""
    efforts: F64Vector
    """From which on the neighbor is looked at."""

    def take(self, chosen: Ids) -> Pairs:
        """Return some of them."""
        return Pairs(self.distances[chosen], self.reaches[chosen], self.efforts[chosen])


def tune(
    with_levels: Callable[[Sequence[Level]], VectorIndex],
    exact: VectorIndex,
    pairs: Pairs,
    promise: float,
) -> tuple[list[Level], Recall | None]:
    """Return the least effort whose recall keeps a promise with the lower end of its interval.

    Where only exact answers are sure to keep it, there are no levels, and no recall.
    """
    rows = sample_rows(exact.rows)[1]
    nearest = others(exact, rows, min(K, exact.rows - 1))
    for share in LOSS_SHARES:
        levels = choose_levels(pairs, share * (1 - promise))
        if not levels:
            break
        measured = compare(with_levels(levels), rows, nearest)
        if measured.low >= promise:
            return levels, measured
    return [], None


def sample_pairs(exact: VectorIndex, effort_of: EffortOf) -> Pairs:
    """Return rows with neighbors of all distances that a new photo's neighbors may have.

    There are none where rows are so few that an exact search is as fast.
    """
    counts = [0, *(count for count in NEIGHBORS if count <= MAX_SHARE * exact.rows)]
    parts = [_pairs(exact, effort_of, nearer, farther) for nearer, farther in pairwise(counts)]
    return Pairs(
        *(
            np.concatenate([np.empty(0), *(getattr(part, field.name) for part in parts)])
            for field in fields(Pairs)
        )
    )


def choose_levels(pairs: Pairs, loss: float) -> list[Level]:
    """Return the least effort, for growing distances, that misses so small a share of neighbors.

    So much because their clusters are not looked at, and as much because of their codes; both
    together miss less, as only the farthest of a photo's neighbors need all of the effort. Beyond
    the last level rows are searched for exactly: `choose_levels(pairs, 0.01)`.
    """
    levels: list[Level] = []
    effort = 0.0
    order = np.argsort(pairs.distances, kind="stable")
    parts = [pairs.take(part) for part in np.array_split(order, LEVELS + 1) if len(part)]
    for near, far in pairwise(parts):
        # Of what is farther than a level, so that the farthest of a level are found as well.
        effort = max(effort, _quantile(far.efforts, 1 - loss))
        reach = _quantile(np.concatenate([near.reaches, far.reaches]), 1 - loss)
        levels.append(Level(float(near.distances.max()), effort, reach))
    return levels


def measure(exact: VectorIndex, index: VectorIndex, rows: Ids, k: int = K) -> Recall | None:
    """Return the recall of an index, compared with an exact one, for some rows as queries.

    None if the index has no rows to find: `measure(exact, index, sample_rows(exact.rows)[1])`.
    """
    k = min(k, exact.rows - 1)
    if k < 1 or not len(rows):
        return None
    return compare(index, rows, others(exact, rows, k))


def compare(index: VectorIndex, rows: Ids, nearest: Neighbors) -> Recall:
    """Return the recall of an index for rows whose nearest (n, k) others are known."""
    k = nearest.rows.shape[1]
    return Recall.of(found_shares(others(index, rows, k).distances, nearest.distances), k)


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


def _pairs(exact: VectorIndex, effort_of: EffortOf, nearer: int, farther: int) -> Pairs:
    """Pair rows with some of their neighbors, from the one number to the other."""
    rows = sample_rows(exact.rows)[0]
    rows = rows[spread_rows(len(rows), NEIGHBORS[farther])]
    near = others(exact, rows, farther)
    ranks = np.unique(np.geomspace(nearer + 1, farther, RANKS).astype(np.int64)) - 1
    distances, neighbors = near.distances[:, ranks], near.rows[:, ranks]
    codes, efforts = effort_of(rows, neighbors, farther)
    reaches = codes / np.maximum(distances, np.finfo(np.float64).tiny)
    return Pairs(distances.ravel(), reaches.ravel(), efforts.ravel())


def code_distances(
    exact: VectorIndex, probe: ClusterProbe, rows: Ids, neighbors: Ids
) -> tuple[F64Matrix, F64Matrix]:
    """(n,) rows, (n, m) others → (n, m) distances of codes, and of the centers of clusters."""
    values, _ = probe.encode(exact.vectors(rows))
    distances = [
        np.linalg.norm(probe.encode(exact.vectors(some))[0].astype(np.float64) - value, axis=1)
        for value, some in zip(values, neighbors, strict=True)
    ]
    return np.stack(distances), probe.center_distances(values, neighbors).astype(np.float64)


def _quantile(values: F64Vector, share: float) -> float:
    return float(np.quantile(values, share, method="higher"))
