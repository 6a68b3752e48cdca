"""Rank: the nearest rows of an index → the nearest items, of those that are wanted.

A row is a distinct photo; an item is as near as the nearest of its photos is. Rows are asked for in
growing numbers until no row further on can change the first k items.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.catalog.conditions import Condition
from pipeline.index.base import F32Matrix, Ids, VectorIndex
from pipeline.index.builds import Build

F64Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
_MORE = 2  # rows beyond k, as the first ones often show several items or the one that asks


class QueryVectors(NamedTuple):
    """One query: (m, dim) vectors, more than one if an item of several photos asks."""

    vectors: F32Matrix
    leave_out: int | None = None
    """An item that is not to be found: the one that asks."""
    ood_percentile: float | None = None
    """How unlike the catalog's photos the query is: told with the answer, no part of it."""


class RankedItem(NamedTuple):
    """One item near a query, and the row of the photo by which it is."""

    item: int
    distance: float
    row: int


@dataclass(frozen=True)
class SearchFilter:
    """Which items may be found."""

    condition: Condition | None = None
    """What must hold for them; None: every item may be."""
    min_distance: float = 0.0
    max_distance: float = inf
    group: Callable[[Sequence[int]], Sequence[Hashable]] | None = None
    """Ids of items → what each belongs to, of which only the nearest item is found."""


@dataclass(frozen=True)
class Ranking:
    """The items of one build, ranked by one index of it."""

    index: VectorIndex
    build: Build
    wanted: SearchFilter

    def rank(self, asked: Sequence[QueryVectors], k: int) -> list[list[RankedItem]]:
        """Return, for each query, the k nearest wanted items by (distance, item id).

        There are fewer only where fewer are wanted. Distances are Euclidean. Memory grows with the
        number of queries times k: ask in blocks.
        """
        answers: list[list[RankedItem] | None] = [None] * len(asked)
        if self.wanted.condition is not None:
            # Where many items meet it, enough of the nearest do, and only those need be judged.
            self._round(asked, answers, k, 4 * k + _MORE, self.wanted.condition.among, None)
        count = k + _MORE
        while None in answers:
            self._round(asked, answers, k, count, self._all_wanted, self._rows)
            count *= 4
        return [found or [] for found in answers]

    def _round(
        self,
        asked: Sequence[QueryVectors],
        answers: list[list[RankedItem] | None],
        k: int,
        count: int,
        judge: Callable[[Ids], Ids],
        allowed: Ids | None,
    ) -> None:
        """Ask for `count` rows, among the allowed ones; fill in the answers that are certain then.

        `judge` takes items and returns which meet the condition; it may name others besides.
        """
        still = [number for number, found in enumerate(answers) if found is None]
        vectors = np.concatenate([asked[number].vectors for number in still])
        neighbors = self.index.search(vectors, count, allowed)
        complete = count >= (self.index.rows if allowed is None else len(allowed))
        at = 0
        for number in still:
            own = slice(at, at := at + len(asked[number].vectors))
            distances, rows = neighbors.distances[own], neighbors.rows[own]
            # What is nearer than this has been seen, by each of the vectors.
            frontier = inf if complete else float(distances[:, -1].min())
            found = self._items(distances, rows, asked[number].leave_out, judge)[:k]
            full = len(found) == k and found[-1].distance < frontier
            if full or frontier == inf or frontier > self.wanted.max_distance:
                answers[number] = found

    @cached_property
    def _rows(self) -> Ids | None:
        """The rows that show an item which meets the condition; None if there is none."""
        if self.wanted.condition is None:
            return None
        ids = self.build.ids
        return np.unique(ids[np.isin(ids[:, 1], self.wanted.condition.items), 0])

    def _all_wanted(self, items: Ids) -> Ids:
        return items if self.wanted.condition is None else self.wanted.condition.items

    def _items(
        self,
        distances: F64Array,
        rows: Ids,
        leave_out: int | None,
        judge: Callable[[Ids], Ids],
    ) -> list[RankedItem]:
        """The wanted items that these rows show, each once, by (distance, id)."""
        entries, times = self.build.expand_rows(rows.ravel())
        items = self.build.ids[entries, 1]
        apart = np.repeat(distances.ravel(), times)
        order = np.lexsort((items, apart))
        _, first = np.unique(items[order], return_index=True)
        nearest = order[np.sort(first)]
        nearest = nearest[self._is_wanted(items[nearest], apart[nearest], leave_out)]
        nearest = nearest[np.isin(items[nearest], judge(items[nearest]))]
        kept = self._first_of_groups(items[nearest].tolist())
        return [
            RankedItem(item, distance, row)
            for item, distance, row in zip(
                items[nearest[kept]].tolist(),
                apart[nearest[kept]].tolist(),
                self.build.ids[entries[nearest[kept]], 0].tolist(),
                strict=True,
            )
        ]

    def _is_wanted(self, items: Ids, apart: F64Array, leave_out: int | None) -> Mask:
        wanted: Mask = (apart >= self.wanted.min_distance) & (apart <= self.wanted.max_distance)
        if leave_out is not None:
            wanted &= items != leave_out
        return wanted

    def _first_of_groups(self, items: Sequence[int]) -> list[int]:
        """Positions of the items that are the first of what they belong to."""
        if self.wanted.group is None:
            return list(range(len(items)))
        seen: dict[Hashable, int] = {}
        for position, group in enumerate(self.wanted.group(items)):
            seen.setdefault(group, position)
        return list(seen.values())
