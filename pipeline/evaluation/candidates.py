"""What fusing is fitted to: the items near some queries, and which of them are right."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from pipeline.evaluation.exclusions import SharedValues
from pipeline.evaluation.trained import label_photos, trained_on
from pipeline.index.base import F64Array, F64Vector, Ids, Mask
from pipeline.search.engine_searcher import EngineSearcher
from pipeline.search.ranking import QueryVectors
from pipeline.search.weighting import typical_distance

DEPTH = 30  # items near each query by each engine: what stands first in any fusion is among them
MAX_QUERIES = 800
QUERY_BLOCK = 100  # ranked at a time


@dataclass(frozen=True)
class Candidates:
    """The items near each query by any engine, and how far they are by every engine."""

    engines: tuple[str, ...]
    queries: Ids
    """(q,) int64: the items that are searched with, or whose photos are."""
    items: Ids
    """(q, c) int64: candidates; -1 where there are fewer."""
    distances: F64Array
    """(engines, q, c) float64, divided by each engine's typical distance; infinite where none."""
    relevant: Mask
    """(q, c) bool: whether a candidate is right."""
    learned: Mask
    """(engines, q) bool: whether an engine was shown the label of a query while it was trained."""

    def among(self, engines: Sequence[str]) -> Candidates:
        """Return the same of some engines only, and of queries whose label none of them learned."""
        chosen = [self.engines.index(name) for name in engines]
        kept = ~self.learned[chosen].any(axis=0)
        return Candidates(
            tuple(engines),
            self.queries[kept],
            self.items[kept],
            self.distances[chosen][:, kept],
            self.relevant[kept],
            self.learned[chosen][:, kept],
        )

    def without(self, left_out: Ids) -> Candidates:
        """Return those of other queries than these items, who are no candidates either."""
        kept = ~np.isin(self.queries, left_out)
        is_out = np.isin(self.items[kept], left_out)
        return Candidates(
            self.engines,
            self.queries[kept],
            np.where(is_out, -1, self.items[kept]),
            np.where(is_out, np.inf, self.distances[:, kept]),
            self.relevant[kept] & ~is_out,
            self.learned[:, kept],
        )


def labeled_candidates(
    searchers: Mapping[str, EngineSearcher],
    labels: Mapping[int, str],
    max_queries: int = MAX_QUERIES,
    seed: int = 7,
) -> Candidates:
    """Search with items of a label, chosen at random, for others of it that share no photo.

    `labels` says the label of items; others are no candidates. Items that are the only one of
    theirs, or that an engine has no vector of, are no queries.
    """
    indexed = [set(one.build.ids[:, 1].tolist()) for one in searchers.values()]
    there = [item for item in labels if all(item in ids for ids in indexed)]
    _, numbers, counts = np.unique(
        [labels[item] for item in there], return_inverse=True, return_counts=True
    )
    queries = np.array(there, np.int64)[counts[numbers] > 1]
    if len(queries) > max_queries:
        random = np.random.default_rng(seed)
        queries = np.sort(random.choice(queries, max_queries, replace=False))
    vectors = {
        name: [QueryVectors(one.index.vectors(one.build.rows_of(q)), q) for q in queries.tolist()]
        for name, one in searchers.items()
    }
    photos = SharedValues(next(iter(searchers.values())).catalog.photo_item_pairs())
    right = dict(zip(there, numbers.tolist(), strict=True))

    def judge(query: int, items: Sequence[int]) -> list[bool | None]:
        same = photos.sharing(query)
        return [
            None if item in same or item not in right else right[item] == right[query]
            for item in items
        ]

    candidates = gather(searchers, queries, vectors, judge)
    known = [label_photos([trained_on(searcher)]) for searcher in searchers.values()]
    shown = [photos.values(query) for query in candidates.queries.tolist()]
    learned = [[not of_engine.isdisjoint(one) for one in shown] for of_engine in known]
    return replace(candidates, learned=np.array(learned, np.bool_))


Judge = Callable[[int, Sequence[int]], Sequence[bool | None]]
"""A query's item, items → whether each is right; None: it is no candidate."""


def gather(
    searchers: Mapping[str, EngineSearcher],
    queries: Ids,
    vectors: Mapping[str, Sequence[QueryVectors]],
    judge: Judge,
    depth: int = DEPTH,
) -> Candidates:
    """Search by every engine with each query's `vectors` of it, and measure what any has found.

    Queries for which nothing right was found are left out: no fusion is better than another there.
    """
    found: list[_Found] = []
    for first in range(0, len(queries), QUERY_BLOCK):
        block = range(first, min(first + QUERY_BLOCK, len(queries)))
        items: list[set[int]] = [set() for _ in block]
        for name, searcher in searchers.items():
            ranked = searcher.rank([vectors[name][q] for q in block], depth)
            for union, of_query in zip(items, ranked, strict=True):
                union.update(one.item for one in of_query)
        for q, union in zip(block, items, strict=True):
            verdicts = dict(zip(ids := sorted(union), judge(int(queries[q]), ids), strict=True))
            kept = np.array([item for item in ids if verdicts[item] is not None], np.int64)
            distances = [s.item_distances.to(kept, vectors[n][q]) for n, s in searchers.items()]
            right = np.array([bool(verdicts[item]) for item in kept.tolist()], np.bool_)
            found.append(_Found(int(queries[q]), kept, np.array(distances), right))
    scales = [typical_distance(searcher.calibration) for searcher in searchers.values()]
    useful = [one for one in found if one.relevant.any()]
    return _padded(tuple(searchers), useful, np.array(scales))


class _Found(NamedTuple):
    """What was found for one query: a row of `Candidates`."""

    query: int
    items: Ids
    distances: F64Array
    relevant: Mask


def _padded(engines: tuple[str, ...], found: Sequence[_Found], scales: F64Vector) -> Candidates:
    width = max((len(one.items) for one in found), default=0)
    items = np.full((len(found), width), -1, np.int64)
    distances = np.full((len(engines), len(found), width), np.inf)
    relevant = np.zeros((len(found), width), np.bool_)
    for i, one in enumerate(found):
        part = slice(len(one.items))
        items[i, part], relevant[i, part] = one.items, one.relevant
        distances[:, i, part] = one.distances / scales[:, np.newaxis]
    queries = np.array([one.query for one in found], np.int64)
    learned = np.zeros((len(engines), len(found)), np.bool_)
    return Candidates(engines, queries, items, distances, relevant, learned)
