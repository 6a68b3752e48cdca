"""Refine: what a query finds says more of what it means → a better order.

Two ways, both without a label, and by the vectors alone:

- `expand` searches again, with the mean of the query and of what it found that is mutually near it,
  each weighted by a power of its similarity (alpha query expansion: Radenović, Tolias and Chum,
  Fine-tuning CNN image retrieval with no human annotation, IEEE TPAMI 41(7), 2019; reciprocal
  neighbors: Qin et al., Hello neighbor, CVPR 2011).
- `rerank` sorts the first hits anew, each as the mean of itself and its neighbors among them, and
  the query likewise (SuperGlobal: Shao et al., Global features are all you need for image retrieval
  and reranking, ICCV 2023, §3.2; there the query becomes a maximum, here a mean, as coordinates may
  be negative).

A similarity is 1 at no distance and 0 at √2 times the typical distance among the first hits, as the
cosine of unit vectors is at √2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pipeline.index.base import F32Matrix, F64Matrix, Ids
from pipeline.publish.tuning import Refine
from pipeline.search.item_distances import ItemDistances
from pipeline.search.ranking import QueryVectors, RankedItem, Ranking, SearchFilter

DEPTH = 100  # hits that are sorted anew, or among which those that expand the query are looked for
EXPANDED_BY = 10  # hits that a query is expanded by, at most
MUTUAL_RANK = 20  # of the query among the neighbors of a hit that it is expanded by, at most
ALPHA = 1  # the power of a similarity that is the weight in an expanded query
NEIGHBORS = 10  # that refine a hit


def expand(query: F32Matrix, found: F32Matrix) -> F32Matrix:
    """(m, dim) vectors of a query, (n, dim) of what it found, nearest first → (m, dim) expanded.

    All are float32; `expand(query.vectors, index.vectors(rows))`.
    """
    if not len(found):
        return query
    among = _distances(found, found)
    to_query = _distances(query, found).min(axis=0)
    limit = np.sort(among, axis=1)[:, min(MUTUAL_RANK, len(found) - 1)]
    near = np.flatnonzero(to_query[:EXPANDED_BY] <= limit[:EXPANDED_BY])
    weights = _similarity(to_query[near], _typical(among)) ** ALPHA
    total = query + weights @ found[near].astype(np.float64)
    expanded: F32Matrix = (total / (1 + weights.sum())).astype(np.float32)
    return expanded


def rerank(query: F32Matrix, found: F32Matrix) -> Ids:
    """(m, dim) vectors of a query, (n, dim) of what it found → (n,) positions, the best first."""
    if not len(found):
        return np.empty(0, np.int64)
    among = _distances(found, found)
    typical = _typical(among)
    neighbors = np.argsort(among, axis=1, kind="stable")[:, 1 : NEIGHBORS + 1]
    weights = np.eye(len(found))
    similar = _similarity(np.take_along_axis(among, neighbors, axis=1), typical)
    np.put_along_axis(weights, neighbors, similar, axis=1)
    refined = weights @ found.astype(np.float64) / weights.sum(axis=1, keepdims=True)
    of_query = _similarity(_distances(query, found).min(axis=0)[:NEIGHBORS], typical)
    expanded = (query + of_query @ found[:NEIGHBORS].astype(np.float64)) / (1 + of_query.sum())
    scores = (
        _distances(query, refined).min(axis=0) ** 2 + _distances(expanded, found).min(axis=0) ** 2
    )
    return np.argsort(scores, kind="stable")


def _distances(one: F64Matrix | F32Matrix, other: F64Matrix | F32Matrix) -> F64Matrix:
    """(n, dim), (m, dim) → (n, m) Euclidean."""
    x, y = one.astype(np.float64), other.astype(np.float64)
    center = y.mean(axis=0)
    x, y = x - center, y - center
    squares = np.einsum("ij,ij->i", x, x)[:, np.newaxis] + np.einsum("ij,ij->i", y, y) - 2 * x @ y.T
    distances: F64Matrix = np.sqrt(np.maximum(squares, 0))
    return distances


def _typical(among: F64Matrix) -> float:
    return float(np.median(among)) or 1.0


def _similarity(distances: F64Matrix, typical: float) -> F64Matrix:
    similarity: F64Matrix = np.maximum(1 - distances**2 / (2 * typical**2), 0)
    return similarity


class RefinedList(NamedTuple):
    """What was found for a query, in its refined order."""

    searched: QueryVectors
    """What the index was searched with."""
    items: list[RankedItem]
    """With their distances from the query itself, which need not ascend."""


class Refiner:
    """Ranks the items of one build, refined or not."""

    def __init__(self, ranking: Ranking, refine: Refine) -> None:
        """Take a ranking with its filter.

        One by distances is not expanded: they are those from the query itself.
        """
        self._ranking = ranking
        self.refine: Refine = (
            "off" if refine == "expand" and ranking.filter.is_by_distance else refine
        )
        self._distances = ItemDistances(ranking.index, ranking.build)

    def rank(self, queries: Sequence[QueryVectors], k: int) -> list[RefinedList]:
        """Return the first k allowed items of each query."""
        if self.refine == "expand":
            return self._expanded(queries, k)
        depth = max(k, DEPTH) if self.refine == "rerank" else k
        ranked = self._ranking.rank(queries, depth)
        if self.refine == "rerank":
            ranked = [self._reranked(q, items) for q, items in zip(queries, ranked, strict=True)]
        return [RefinedList(q, items[:k]) for q, items in zip(queries, ranked, strict=True)]

    def _expanded(self, queries: Sequence[QueryVectors], k: int) -> list[RefinedList]:
        searched = expand_queries(self._ranking, queries)
        results = []
        for query, new, items in zip(
            queries, searched, self._ranking.rank(searched, k), strict=True
        ):
            ids = np.array([one.item for one in items], np.int64)
            distances = self._distances.to(ids, query).tolist()
            shown = [
                one._replace(distance=distance)
                for one, distance in zip(items, distances, strict=True)
            ]
            results.append(RefinedList(new, shown))
        return results

    def _reranked(self, query: QueryVectors, items: list[RankedItem]) -> list[RankedItem]:
        first = items[:DEPTH]
        found = self._ranking.index.vectors(np.array([one.row for one in first], np.int64))
        return [first[i] for i in rerank(query.vectors, found).tolist()] + items[DEPTH:]


def expand_queries(ranking: Ranking, queries: Sequence[QueryVectors]) -> list[QueryVectors]:
    """Return each query expanded by what it finds in the whole of a ranking's build."""
    whole = Ranking(ranking.index, ranking.build, SearchFilter())
    return [
        query._replace(
            vectors=expand(
                query.vectors,
                ranking.index.vectors(np.array([one.row for one in items], np.int64)),
            )
        )
        for query, items in zip(queries, whole.rank(queries, DEPTH), strict=True)
    ]
