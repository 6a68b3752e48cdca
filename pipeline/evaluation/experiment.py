"""Rank the gallery for every query by every retriever and by their fusion; score the rankings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from pipeline.evaluation.exact_ranker import ExactRanker
from pipeline.evaluation.exclusions import ExcludedCount, Exclusions, SharedValues
from pipeline.evaluation.gallery import Gallery, QuerySet
from pipeline.evaluation.metrics import METRICS, score
from pipeline.evaluation.retriever import Ranker, Retriever
from pipeline.index.base import F64Array, F64Matrix, Ids, Mask
from pipeline.progress import SILENT, Progress
from pipeline.search.fusion import DEPTH, full_order_scores
from pipeline.search.weighting import weighted_orders

Value = TypeVar("Value")

QUERY_BLOCK = 256  # queries ranked at a time
MAX_RANKED = 1 << 25
"""Queries ranked at a time × items: memory holds a few arrays of so many numbers."""


@dataclass(frozen=True)
class ExperimentResult:
    """How good the rankings are."""

    scores: F64Array
    """(answerable queries, retrievers, metrics) float64, in the order of `METRICS`; fusions of the
    engines, if there are any, come after the retrievers."""
    answerable: Mask
    """(queries,) bool: which queries have a relevant item to find."""
    excluded: Mapping[str, ExcludedCount]
    """What is shared → how many items were excluded for it."""


@dataclass(frozen=True)
class RetrievalExperiment:
    """Queries, and which items of a gallery are relevant to them."""

    queries: QuerySet
    label_names: Sequence[str]
    """The gallery's labels, ascending."""
    gallery_labels: Ids
    """(n,) int64: the label of each item, as its position in `label_names`."""
    query_labels: Ids
    """(queries,) int64: the label of each query; one that no item has is -1."""
    exclusions: Mapping[str, Exclusions[bytes] | Exclusions[str]]
    """What is shared → the items that are excluded for it."""

    @classmethod
    def of(cls, gallery: Gallery, queries: QuerySet) -> RetrievalExperiment:
        """Items of the query's label that share no photo or product with it are relevant."""
        names = sorted(set(gallery.labels))
        number = {name: i for i, name in enumerate(names)}
        return cls(
            queries,
            names,
            np.array([number[label] for label in gallery.labels], np.int64),
            np.array([number.get(label, -1) for label in queries.labels], np.int64),
            {
                "photo": Exclusions(SharedValues(_pairs(gallery.photos)), queries.photos),
                "product": Exclusions(SharedValues(_pairs(gallery.products)), queries.products),
            },
        )

    def run(
        self,
        retrievers: Sequence[Retriever],
        fusions: Sequence[F64Matrix | None] = (),
        *,
        progress: Progress = SILENT,
        query_block: int = QUERY_BLOCK,
    ) -> ExperimentResult:
        """Rank by all retrievers, and score: `experiment.run(retrievers, [None])`.

        Each of `fusions` fuses the engines' lists: None by ranks, or (queries, engines) weights of
        distances.
        """
        rankers = [self._ranker(retriever) for retriever in retrievers]
        engines = [i for i, r in enumerate(retrievers) if r.kind == "engine"]
        scores = [np.empty((0, len(retrievers) + len(fusions), len(METRICS)))]
        counts = dict.fromkeys(self.exclusions, ExcludedCount())
        count = len(self.query_labels)
        query_block = max(1, min(query_block, MAX_RANKED // max(1, len(self.gallery_labels))))
        answerable = np.zeros(count, np.bool_)
        with progress.task("evaluate: ranking", count, "queries") as advance:
            for first in range(0, count, query_block):
                last = min(first + query_block, count)
                excluded = self._excluded(first, last)
                for shared, items in excluded.items():
                    counts[shared] += ExcludedCount.of(items)
                absent = self._absent(first, excluded)
                relevant = self.gallery_labels == self.query_labels[first:last, np.newaxis]
                for is_relevant, not_listed in zip(relevant, absent, strict=True):
                    is_relevant[not_listed] = False
                sizes = len(self.gallery_labels) - np.array([len(items) for items in absent])
                orders = [ranker.rank(first, last, absent) for ranker in rankers]
                of_engines = [orders[i] for i in engines]
                for weights in fusions:
                    if weights is None:
                        orders.append(fused(of_engines))
                        continue
                    distances = [rankers[i].distances(first, last, absent) for i in engines]
                    of_queries = weights[first:last]
                    orders.append(
                        weighted_orders(of_engines, np.array(distances), of_queries, DEPTH)
                    )
                kept = relevant.any(axis=1)
                answerable[first:last] = kept
                lists = [np.take_along_axis(relevant, order, axis=1)[kept] for order in orders]
                scores.append(np.stack([score(ranked, sizes[kept]) for ranked in lists], axis=1))
                advance(last - first)
        return ExperimentResult(np.concatenate(scores), answerable, counts)

    def _ranker(self, retriever: Retriever) -> Ranker:
        vectors = self.queries.vectors(retriever)
        if retriever.refined:
            return retriever.refined(vectors, self.queries.items)
        return ExactRanker(retriever.gallery, vectors)

    def _excluded(self, first: int, last: int) -> dict[str, list[Ids]]:
        """What is shared → the items excluded for it from the lists of the queries."""
        items = self.queries.items
        query_items = [None if items is None else int(items[q]) for q in range(first, last)]
        return {
            shared: [one.excluded(q, item) for q, item in enumerate(query_items, first)]
            for shared, one in self.exclusions.items()
        }

    def _absent(self, first: int, excluded: Mapping[str, Sequence[Ids]]) -> list[Ids]:
        """The items that are not in each query's list: all excluded ones, and the query itself."""
        lists = zip(*excluded.values(), strict=True)
        absent = [np.unique(np.concatenate(of_query)) for of_query in lists]
        if self.queries.items is None:
            return absent
        return [np.append(items, self.queries.items[q]) for q, items in enumerate(absent, first)]


def fused(orders: Sequence[Ids], depth: int = DEPTH) -> Ids:
    """Fuse several engines' rankings of all items: (queries, n) int64 each → the same.

    Items that come last by every engine, as excluded ones do, come last here.
    """
    ranks = np.empty((len(orders), *orders[0].shape))
    for engine_ranks, order in zip(ranks, orders, strict=True):
        np.put_along_axis(engine_ranks, order, np.arange(1.0, order.shape[1] + 1), axis=1)
    return np.argsort(-full_order_scores(ranks, depth), axis=1, kind="stable")


def _pairs(values: Sequence[Sequence[Value]]) -> list[tuple[Value, int]]:
    return [(value, item) for item, of_item in enumerate(values) for value in of_item]
