"""Rank a whole gallery for each query as a search ranks that refines what it finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pipeline.evaluation.exact_ranker import ExactRanker
from pipeline.evaluation.gallery import Gallery
from pipeline.evaluation.retriever import Ranker, Retriever, VectorSet
from pipeline.index.base import F32Matrix, Ids
from pipeline.publish.tuning import Refine
from pipeline.search.engine_searcher import EngineSearcher
from pipeline.search.ranking import QueryVectors, Ranking, SearchFilter
from pipeline.search.refining import DEPTH, expand_queries, rerank

QUERY_BLOCK = 100  # expanded at a time


def refined_ranker(
    searcher: EngineSearcher,
    gallery: VectorSet,
    queries: VectorSet,
    query_items: Ids | None,
    refine: Refine,
) -> ExactRanker:
    """Return what ranks a gallery as `searcher` does with `refine`.

    `query_items` are the (queries,) ids of the items that are searched with, if they are items.
    """
    if refine == "expand":
        return ExactRanker(gallery, _expanded(searcher, queries, query_items))
    return (
        RerankingRanker(gallery, queries) if refine == "rerank" else ExactRanker(gallery, queries)
    )


def refined_retriever(
    searcher: EngineSearcher, retriever: Retriever, gallery: Gallery, refine: Refine
) -> Retriever:
    """Return an engine's retriever that ranks as its search does with `refine`."""
    if refine == "off":
        return retriever

    def refined(queries: VectorSet, positions: Ids | None) -> Ranker:
        items = None if positions is None else gallery.items[positions]
        return refined_ranker(searcher, retriever.gallery, queries, items, refine)

    return replace(retriever, refined=refined)


class RerankingRanker(ExactRanker):
    """Sorts the first items anew, as `refining.rerank` does."""

    def rank(self, first: int, last: int, excluded: Sequence[Ids]) -> Ids:
        """Rank as `ExactRanker.rank`, and sort the first `refining.DEPTH` anew."""
        order = super().rank(first, last, excluded)
        vectors, begin = self._queries.vectors(first, last)
        ends = np.append(begin, len(vectors))
        for query, items in enumerate(order):
            top = items[: min(DEPTH, len(items) - len(excluded[query]))].copy()
            of_query = vectors[ends[query] : ends[query + 1]]
            items[: len(top)] = top[rerank(of_query, self._nearest(of_query, top))]
        return order

    def _nearest(self, query: F32Matrix, items: Ids) -> F32Matrix:
        """(n, dim): the vector of each item that is nearest to the query."""
        order = np.argsort(items)
        vectors, begin = self._gallery.subset_vectors(items[order])
        differences = vectors[:, np.newaxis].astype(np.float64) - query
        squared = np.einsum("ijk,ijk->ij", differences, differences).min(axis=1)
        parts = np.split(squared, begin[1:])
        nearest = begin + np.array([part.argmin() for part in parts], np.int64)
        result = np.empty((len(items), vectors.shape[1]), np.float32)
        result[order] = vectors[nearest]
        return result


def _expanded(searcher: EngineSearcher, queries: VectorSet, query_items: Ids | None) -> VectorSet:
    """The same owners, each with its vectors expanded."""
    ranking = Ranking(searcher.index, searcher.build, SearchFilter())
    blocks = []
    for first in range(0, queries.count, QUERY_BLOCK):
        last = min(first + QUERY_BLOCK, queries.count)
        vectors, begin = queries.vectors(first, last)
        parts = np.split(vectors, begin[1:])
        ids = [None] * len(parts) if query_items is None else query_items[first:last].tolist()
        asked = [QueryVectors(part, item) for part, item in zip(parts, ids, strict=True)]
        blocks += [query.vectors for query in expand_queries(ranking, asked)]
    matrix = np.concatenate(blocks)
    owners = np.column_stack([queries.owners[:, 0], np.arange(len(matrix))])
    return VectorSet(matrix.__getitem__, owners)
