"""Fuse rankings: each engine's list of hits → one list.

Reciprocal rank fusion (Cormack, Clarke and Büttcher, Reciprocal rank fusion outperforms Condorcet
and individual rank learning methods, SIGIR 2009): an item's score is the sum, over the lists, of
1 / (60 + its rank). Only ranks count, so engines with distances of any scale can be fused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from pipeline.search.result import FusedHit, Hit, TextHit

F64Array = npt.NDArray[np.float64]

FUSED = "fused"
"""What the fused list is called, beside the engines' names."""
RANK_CONSTANT = 60
"""What Cormack et al. add to each rank, so that the first ones do not decide alone."""
DEPTH = 100
"""How much of each engine's list is fused; an item further down gets nothing from it.

At this depth an engine's vote counts 1/160, at the top 1/61.
"""


def fuse(
    lists: Mapping[str, Sequence[Hit | TextHit]], k: int, constant: int = RANK_CONSTANT
) -> tuple[FusedHit, ...]:
    """Return the k best items of several engines' lists, best first; equal scores by item id.

    Each list is ordered, nearest first. Give lists of equal depth, `DEPTH` or k if that is more: an
    item counts as absent where a list does not reach it. `fuse({"a": hits, "b": others}, k=3)`.
    """
    ids, ranks = ranks_in(lists)
    return fused_hits(lists, ids, ranks, reciprocal(ranks, constant), k)


def ranks_in(lists: Mapping[str, Sequence[Hit | TextHit]]) -> tuple[list[int], F64Array]:
    """Return the n items of some lists, by id; (lists, n) ranks, infinite where one lacks it."""
    ids = sorted({hit.item.id for hits in lists.values() for hit in hits})
    column = {item: i for i, item in enumerate(ids)}
    ranks = np.full((len(lists), len(ids)), np.inf)
    for row, hits in zip(ranks, lists.values(), strict=True):
        row[[column[hit.item.id] for hit in hits]] = np.arange(1, len(hits) + 1)
    return ids, ranks


def fused_hits(
    lists: Mapping[str, Sequence[Hit | TextHit]],
    ids: Sequence[int],
    ranks: F64Array,
    scores: F64Array,
    k: int,
) -> tuple[FusedHit, ...]:
    """Return the k items with the highest (n,) scores; `ids` and `ranks` are of `ranks_in`."""
    hits: dict[int, Hit | TextHit] = {}
    for engine_hits in lists.values():
        for hit in engine_hits:
            hits.setdefault(hit.item.id, hit)
    best = np.argsort(-scores, kind="stable")[:k].tolist()
    return tuple(
        FusedHit(
            rank,
            float(scores[i]),
            {n: int(row[i]) for n, row in zip(lists, ranks, strict=True) if np.isfinite(row[i])},
            hits[ids[i]].item,
            hits[ids[i]].photo,
            hits[ids[i]].sha256,
            hits[ids[i]].similar,
        )
        for rank, i in enumerate(best, 1)
    )


def reciprocal(ranks: F64Array, constant: int = RANK_CONSTANT) -> F64Array:
    """(lists, ...) float64 ranks from 1, infinite where a list lacks an item → (...) scores.

    Rounded to 15 places, so that sums that are equal, as 1/70 + 1/105 and 1/84 + 1/84, tie.
    """
    scores: F64Array = (1 / (constant + ranks)).sum(axis=0).round(15)
    return scores


def full_order_scores(ranks: F64Array, depth: int = DEPTH) -> F64Array:
    """(engines, ..., n) float64 ranks in whole rankings → (..., n) scores that order all n items.

    The first items, and their scores, are those of `fuse` on lists of `depth`. Behind them come the
    items beyond that depth in every list, by the same sum over whole lists divided by the number of
    lists: a mean of terms below 1 / (60 + `depth`), the least score of an item in front.
    """
    scores = reciprocal(np.where(ranks <= depth, ranks, np.inf))
    return np.where(scores > 0, scores, reciprocal(ranks) / len(ranks))
