"""Ranked lists of relevant and other items → how good they are.

Relevance is yes or no: an item is relevant to a query if it has the query's label. A query to which
no item is relevant cannot be answered well or badly: it is scored by no metric, and counted
instead. A new metric is one function here and one line in `METRICS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from pipeline.index.base import F64Matrix, F64Vector, Ids, Mask


@dataclass(frozen=True)
class RankedLists:
    """The ranked lists of some queries, each with at least one relevant item."""

    relevant: Mask
    """(queries, n) bool: whether the items are relevant, the nearest first."""
    sizes: Ids
    """(queries,) int64: how many items each list has; what follows in its row is False."""

    @cached_property
    def counts(self) -> Ids:
        """(queries,) int64: R, how many relevant items each list has."""
        return np.bincount(self.positions[0], minlength=len(self.relevant))

    @cached_property
    def positions(self) -> tuple[Ids, Ids]:
        """Two (relevant items,) int64: the query of each, in order; its position in the list."""
        query, position = np.nonzero(self.relevant)
        return query, position

    @cached_property
    def first(self) -> Ids:
        """(queries,) int64: which relevant item is the first of each list."""
        return np.cumsum(self.counts) - self.counts


Metric = Callable[[RankedLists], F64Vector]
"""Ranked lists → (queries,) float64 in 0..1."""


def precision(lists: RankedLists, k: int) -> F64Vector:
    """P@k: the share of relevant items among the first k, or among all if there are fewer."""
    share: F64Vector = lists.relevant[:, :k].sum(axis=1) / np.minimum(k, lists.sizes)
    return share


def average_precision(lists: RankedLists) -> F64Vector:
    """AP: the mean, over the R relevant items, of the precision down to each.

    Manning, Raghavan and Schütze, Introduction to Information Retrieval, 2008, §8.4. Its mean over
    queries is the mAP.
    """
    query, position = lists.positions
    nth = np.arange(len(query)) - lists.first[query] + 1  # of its list, from 1
    sums = np.bincount(query, nth / (position + 1), minlength=len(lists.relevant))
    return sums / lists.counts


def ndcg(lists: RankedLists, k: int) -> F64Vector:
    """nDCG@k: the sum of 1 / log₂(rank + 1) over the relevant items among the first k, normalized.

    That is, divided by what it is with min(R, k) of them in front. Järvelin and Kekäläinen,
    Cumulated gain-based evaluation of IR techniques, 2002, with the discount of Burges et al.,
    2005.
    """
    discount = 1 / np.log2(np.arange(k) + 2)
    gain = lists.relevant[:, :k] @ discount[: lists.relevant.shape[1]]
    normalized: F64Vector = gain / np.cumsum(discount)[np.minimum(lists.counts, k) - 1]
    return normalized


def reciprocal_rank(lists: RankedLists) -> F64Vector:
    """RR: 1 / the rank of the first relevant item; its mean over queries is the MRR.

    Voorhees, The TREC-8 question answering track report, 1999.
    """
    _, position = lists.positions
    return 1 / (position[lists.first] + 1)


METRICS: dict[str, Metric] = {
    "P@1": partial(precision, k=1),
    "P@3": partial(precision, k=3),
    "P@10": partial(precision, k=10),
    "mAP": average_precision,
    "nDCG@10": partial(ndcg, k=10),
    "MRR": reciprocal_rank,
}
"""Name of its mean over queries → metric of each query; arrays of scores have these columns."""


def score(relevant: Mask, sizes: Ids) -> F64Matrix:
    """Score ranked lists, `RankedLists`' two arrays, by all metrics.

    Returns:
        (queries, metrics) float64 in 0..1: columns in the order of `METRICS`.
    """
    lists = RankedLists(relevant, sizes)
    return np.column_stack([metric(lists) for metric in METRICS.values()])
