"""Rank the gallery for every query by every space and by their fusion, and score the rankings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.evaluation.exact_ranker import ExactRanker
from pipeline.evaluation.exclusions import Exclusions, all_left_out
from pipeline.evaluation.metrics import METRICS, score
from pipeline.evaluation.retriever import Retriever
from pipeline.progress import SILENT, Progress
from pipeline.search.fusion import DEPTH, full_order_scores

F64Array = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_QUERIES = 256  # ranked at a time: memory holds a few arrays of this many × the gallery's items


@dataclass(frozen=True)
class RetrievalExperiment:
    """What is asked, and what would be right."""

    gallery: Ids
    """(n,) int64: the label of each item, as a number."""
    queries: Ids
    """(queries,) int64: the label of each query; one that no item has is -1."""
    itself: Ids | None
    """(queries,) int64: the item that asks; None if queries are no items."""
    sharing: Sequence[Exclusions]

    def run(
        self, spaces: Sequence[Retriever], *, fuse: bool, progress: Progress = SILENT
    ) -> tuple[F64Array, Mask]:
        """Score all rankings.

        Returns:
            (answerable, spaces, 6) float64: the columns of `metrics.score`, of the queries that
            have a relevant item, by each space, and, with `fuse`, behind them by the fusion of
            those that are engines.
            (queries,) bool: which queries have one.
        """
        orders = [ExactRanker(space) for space in spaces]
        engines = [at for at, space in enumerate(spaces) if space.kind == "engine"]
        answerable = np.zeros(len(self.queries), np.bool_)
        scores = [np.empty((0, len(spaces) + fuse, len(METRICS)))]
        with progress.task("evaluate: ranking", len(self.queries), "queries") as advance:
            for first in range(0, len(self.queries), _QUERIES):
                last = min(first + _QUERIES, len(self.queries))
                left_out = [
                    all_left_out(self.sharing, q, None if self.itself is None else self.itself[q])
                    for q in range(first, last)
                ]
                relevant = self.gallery == self.queries[first:last, np.newaxis]
                for own, absent in zip(relevant, left_out, strict=True):
                    own[absent] = False
                sizes = len(self.gallery) - np.array([len(absent) for absent in left_out])
                asked = relevant.any(axis=1)
                answerable[first:last] = asked
                ranked = [order.block(first, last, left_out) for order in orders]
                if fuse:
                    ranked.append(fused([ranked[at] for at in engines]))
                lists = [np.take_along_axis(relevant, own, axis=1)[asked] for own in ranked]
                scores.append(np.stack([score(one, sizes[asked]) for one in lists], axis=1))
                advance(last - first)
        return np.concatenate(scores), answerable


def fused(orders: Sequence[Ids], depth: int = DEPTH) -> Ids:
    """Fuse several engines' rankings of all items: (queries, n) int64 each → the same.

    Items that come last by every engine, as those left out do, come last here.
    """
    ranks = np.empty((len(orders), *orders[0].shape))
    for own, order in zip(ranks, orders, strict=True):
        np.put_along_axis(own, order, np.arange(1.0, order.shape[1] + 1)[np.newaxis], axis=1)
    best: Ids = np.argsort(-full_order_scores(ranks, depth), axis=1, kind="stable")
    return best
