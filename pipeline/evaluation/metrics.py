"""Ranked lists of relevant and other items → numbers that say how good they are.

Relevance is yes or no: an item is relevant to a query if it has the query's label. A query to which
no item is relevant cannot be answered well or badly: it has no place here, and is counted instead.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

F64Matrix = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

METRICS = ("P@1", "P@3", "P@10", "mAP", "nDCG@10", "MRR")
"""The columns of `score`; the mean over queries of the fourth is the mAP, of the last the MRR."""
_CUTS = (1, 3, 10)
_DEPTH = 10


def score(relevant: Mask, sizes: Ids) -> F64Matrix:
    """Score ranked lists: (queries, n) bool, (queries,) int64 → (queries, 6) float64 in 0..1.

    `relevant` has the nearest item first; of each row only the first `sizes` are the list, and what
    follows is False. Each has at least one relevant item; R is their number. The columns are:

    - P@k, precision: the share of relevant items among the first k; among all, if the list is
      shorter than k.
    - AP, average precision: the mean, over the R relevant items, of the precision down to each
      (Manning, Raghavan and Schütze, Introduction to Information Retrieval, 2008, §8.4).
    - nDCG@10: the sum of 1 / log₂(rank + 1) over the relevant items among the first 10, divided by
      what it is with min(R, 10) of them in front (Järvelin and Kekäläinen, Cumulated gain-based
      evaluation of IR techniques, 2002, with the discount of Burges et al., 2005).
    - RR: 1 / the rank of the first relevant item (Voorhees, The TREC-8 question answering track
      report, 1999).
    """
    queries, row, place = len(relevant), *np.nonzero(relevant)
    count = np.bincount(row, minlength=queries)
    begin = np.cumsum(count) - count
    nth = np.arange(len(row)) - begin[row] + 1  # the first relevant item of its list, the second...
    precision = [relevant[:, :k].sum(axis=1) / np.minimum(k, sizes) for k in _CUTS]
    average = np.bincount(row, nth / (place + 1), minlength=queries) / count
    discount = 1 / np.log2(np.arange(_DEPTH) + 2)
    gain = relevant[:, :_DEPTH] @ discount[: relevant.shape[1]]
    ideal = np.cumsum(discount)[np.minimum(count, _DEPTH) - 1]
    return np.column_stack([*precision, average, gain / ideal, 1 / (place[begin] + 1)])
