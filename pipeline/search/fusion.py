"""Fuse rankings: each engine's list of items → one list.

Reciprocal rank fusion (Cormack, Clarke and Büttcher, Reciprocal rank fusion outperforms Condorcet
and individual rank learning methods, SIGIR 2009): an item's score is the sum, over the lists, of
1 / (60 + its rank). Only ranks count, so engines with distances of any scale can be fused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

F64Array = npt.NDArray[np.float64]

FUSED = "fused"
"""What the fused list is called, beside the engines' names."""
CONSTANT = 60
"""What Cormack et al. add to each rank, so that the first ones do not decide alone."""
DEPTH = 100
"""How much of each engine's list is fused; an item further down gets nothing from it.

At this depth an engine's vote counts 1/160, at the top 1/61.
"""


class Listed(Protocol):
    """An item in a list: `search.Hit` is one."""

    @property
    def id(self) -> int:
        """The item's id."""
        ...

    @property
    def key(self) -> str:
        """What its source calls it."""
        ...

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def category(self) -> str:
        """Its category."""
        ...

    @property
    def path(self) -> Path | None:
        """The photo by which it was found."""
        ...

    @property
    def metadata(self) -> Mapping[str, Any]:
        """All else that is known of it."""
        ...


@dataclass(frozen=True)
class Fused:
    """One item of the fused list."""

    rank: int
    score: float
    """The higher, the better; it has no meaning but its order."""
    ranks: Mapping[str, int]
    """Its rank in each engine's list that has it."""
    id: int
    key: str
    name: str
    category: str
    path: Path | None
    """The photo by which the first engine that has it found it."""
    metadata: Mapping[str, Any]


def fuse(lists: Mapping[str, Sequence[Listed]], k: int, constant: int = CONSTANT) -> list[Fused]:
    """Return the k best items of several lists, best first; equal scores by item id.

    Each list is ordered, nearest first. Give lists of equal depth, `DEPTH` or k if that is more:
    an item counts as absent from where it is beyond.
    """
    items: dict[int, Listed] = {}
    for found in lists.values():
        for one in found:
            items.setdefault(one.id, one)
    ids = sorted(items)
    place = {item: at for at, item in enumerate(ids)}
    ranks = np.full((len(lists), len(ids)), np.inf)
    for own, found in zip(ranks, lists.values(), strict=True):
        own[[place[one.id] for one in found]] = np.arange(1, len(found) + 1)
    scores = reciprocal(ranks, constant)
    best = np.argsort(-scores, kind="stable")[:k]
    return [
        Fused(
            rank,
            float(scores[at]),
            {
                name: int(own[at])
                for name, own in zip(lists, ranks, strict=True)
                if np.isfinite(own[at])
            },
            **{name: getattr(items[ids[at]], name) for name in _COPIED},
        )
        for rank, at in enumerate(best.tolist(), 1)
    ]


def reciprocal(ranks: F64Array, constant: int = CONSTANT) -> F64Array:
    """(lists, ...) float64 ranks from 1, infinite where a list lacks an item → (...) scores.

    Rounded to 15 places, so that sums that are equal, as 1/70 + 1/105 and 1/84 + 1/84, tie.
    """
    scores: F64Array = (1 / (constant + ranks)).sum(axis=0).round(15)
    return scores


def full_order_scores(ranks: F64Array) -> F64Array:
    """(engines, ..., n) float64 ranks in whole rankings → (..., n) scores that order all n items.

    In front, and with their scores, are the items of `fuse` on lists of `DEPTH`; behind them those
    beyond that depth in every list, by the same sum over whole lists. Its mean stands for it: each
    term is below 1 / (60 + `DEPTH`), which is the least that an item in front can have.
    """
    within = reciprocal(np.where(ranks <= DEPTH, ranks, np.inf))
    return np.where(within > 0, within, reciprocal(ranks) / len(ranks))


_COPIED = ("id", "key", "name", "category", "path", "metadata")
