"""Fuse engines by their distances, each with a weight.

An engine's distances are divided by its typical one, the median distance of the catalog's photos
from their nearest neighbors (`index/calibration.py`), so that 1 is its 50th percentile whatever the
engine, and unlike a percentile it does not end at 0 and 100. An item's fused distance is the
weighted mean of these (a linear combination of scores: Bruch, Gai and Ingber, An analysis of fusion
functions for hybrid retrieval, ACM TOIS 42(1), 2023). All engines that have a weight judge every
candidate, also those that only another one listed, so that no item is lost for standing just below
the end of a list. With one weight of 1 the fused list is that engine's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from pipeline.index.base import F64Array, F64Vector, Ids
from pipeline.index.calibration import Calibration
from pipeline.publish.tuning import FittedFusion
from pipeline.search.fusion import fused_hits, ranks_in, reciprocal
from pipeline.search.result import FusedHit, Hit

Distances = Callable[[Ids], F64Vector]
"""(n,) ids of items → (n,) distances from one query by one engine."""


def typical_distance(calibration: Calibration) -> float:
    """Return the distance by which an engine's others are divided.

    The median to the nearest neighbor; the mean, where most photos have one at no distance; 1 if
    all have.
    """
    distances = calibration.distances
    if not len(distances):
        return 1.0
    return float(np.median(distances)) or float(distances.mean()) or 1.0


def fuse_weighted(
    lists: Mapping[str, Sequence[Hit]],
    k: int,
    fitted: FittedFusion,
    distances: Mapping[str, Distances],
) -> tuple[FusedHit, ...]:
    """Return the k best items of several engines' lists, best first; equal ones by item id.

    `fuse_weighted({"a": hits, "b": others}, 3, publication.tuning.fusion, {"a": to_a, "b": to_b})`
    """
    weights = {name: weight for name, weight in fitted.of(lists).items() if weight}
    ids, ranks = ranks_in(lists)
    counted = ranks[[name in weights for name in lists]]
    if len(weights) == 1:
        scores = reciprocal(counted)
    else:
        items = np.array(ids, np.int64)
        total = sum(w / fitted.scales[name] * distances[name](items) for name, w in weights.items())
        scores = 1 / (1 + np.asarray(total))
    is_candidate = np.isfinite(counted).any(axis=0)
    scores = np.where(is_candidate, scores, -np.inf)
    return fused_hits(lists, ids, ranks, scores, min(k, int(is_candidate.sum())))


def weighted_orders(
    orders: Sequence[Ids], distances: F64Array, weights: F64Array, depth: int
) -> Ids:
    """Fuse rankings of all n items as `fuse_weighted` fuses lists of `depth`: (queries, n) int64.

    `orders` and `distances` are those of each engine, (engines, queries, n), excluded items at an
    infinite distance; `weights` (queries, engines) of distances as they are. Behind the first
    `depth` of the engines come the other items, ordered likewise.
    """
    result = np.empty_like(orders[0])
    for query, of_engines in enumerate(weights):
        used = np.flatnonzero(of_engines)
        if len(used) == 1:
            result[query] = orders[int(used[0])][query]
            continue
        total = of_engines[used] @ distances[used, query]
        is_behind = np.ones(len(total), np.bool_)
        for engine in used.tolist():
            is_behind[orders[engine][query, :depth]] = False
        result[query] = np.lexsort((total, is_behind | np.isinf(total)))
    return result
