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
from pipeline.index.vectors import distances_to, import_faiss
from pipeline.publish.tuning import Refine
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
    m, squared = len(query), _squared_distances(np.concatenate([query, found]))
    among, to_query = np.sqrt(squared[m:, m:]), np.sqrt(squared[:m, m:].min(axis=0))[:EXPANDED_BY]
    rank = min(MUTUAL_RANK, len(found) - 1)
    near = np.flatnonzero(to_query <= np.partition(among[:EXPANDED_BY], rank, axis=1)[:, rank])
    weights = _similarity(to_query[near], _typical(among)) ** ALPHA
    total = query + np.einsum("i,ij->j", weights, found[near])
    expanded: F32Matrix = (total / (1 + weights.sum())).astype(np.float32)
    return expanded


def rerank(query: F32Matrix, found: F32Matrix) -> Ids:
    """(m, dim) vectors of a query, (n, dim) of what it found → (n,) positions, the best first."""
    if not len(found):
        return np.empty(0, np.int64)
    m, squared = len(query), _squared_distances(np.concatenate([query, found]))
    among, to_query = np.sqrt(squared[m:, m:]), np.sqrt(squared[:m, m:].min(axis=0))[:NEIGHBORS]
    typical = _typical(among)
    nearest = np.argsort(among, axis=1, kind="stable")[:, : NEIGHBORS + 1]
    weights = _similarity(np.take_along_axis(among, nearest, axis=1), typical)
    weights[:, 0] = 1  # of itself
    to_refined = _squared_to_means(squared, squared[:m], m + nearest, weights)
    first = np.arange(m, m + len(to_query))
    parts = np.column_stack([np.arange(m), np.broadcast_to(first, (m, len(first)))])
    weights = np.ones(parts.shape)
    weights[:, 1:] = _similarity(to_query, typical)
    from_expanded = _squared_to_means(squared, squared[m:], parts, weights)
    return np.argsort(to_refined.min(axis=0) + from_expanded.min(axis=1), kind="stable")


def _squared_distances(vectors: F32Matrix) -> F64Matrix:
    """(n, dim) → (n, n) squared Euclidean, by one product of matrices in float32.

    Everything else is computed from these, and reads no vector again. NumPy would share so small a
    product between threads, and wait for these a hundred times as long as it takes.
    """
    centered = vectors - vectors.mean(axis=0)
    squared: F64Matrix = import_faiss().pairwise_distances(centered, centered).astype(np.float64)
    np.fill_diagonal(squared, 0)
    return np.maximum(squared, 0)


def _squared_to_means(
    squared: F64Matrix, to: F64Matrix, parts: Ids, weights: F64Matrix
) -> F64Matrix:
    """Squared distances of k vectors to r weighted means of others: (k, r).

    Of n vectors, `squared` are the (n, n) distances among them and `to` (k, n) those of the k to
    them; the means are of `parts`, (r, p) of their numbers, with `weights` (r, p). A mean is
    nearer than its parts by what these are apart (Huygens, Steiner).
    """
    weights = weights / weights.sum(axis=1, keepdims=True)
    apart = squared[parts[:, :, np.newaxis], parts[:, np.newaxis]]
    spread = np.einsum("ri,rij,rj->r", weights, apart, weights) / 2
    distances: F64Matrix = np.einsum("krp,rp->kr", to[:, parts], weights) - spread
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
    """By the photos nearest to what was searched with. Their distances are those from the query
    itself, and need not ascend."""


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
        ranked = self._ranking.rank(searched, k)
        return [
            RefinedList(new, self._from_query(query, items))
            for query, new, items in zip(queries, searched, ranked, strict=True)
        ]

    def _from_query(self, query: QueryVectors, items: Sequence[RankedItem]) -> list[RankedItem]:
        """The same items, by the same photos, with their distances from the query itself."""
        vectors = self._ranking.index.vectors(np.array([one.row for one in items], np.int64))
        to_each = [distances_to(vector, vectors) for vector in query.vectors]
        return [
            one._replace(distance=distance)
            for one, distance in zip(items, np.min(to_each, axis=0).tolist(), strict=True)
        ]

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
