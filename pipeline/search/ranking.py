"""Rank: the nearest rows of an index → the nearest items that a filter allows.

A row is a distinct photo; an item is as near as the nearest of its photos is. Rows are searched for
in growing numbers until no further row can change the first k items.
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
EXTRA_ROWS = 2  # searched for beyond k: the first rows often show several items, or the query's own
GROWTH = 4  # how many times more rows each further round searches for


class QueryVectors(NamedTuple):
    """One query: (m, dim) vectors, more than one if it is an item of several photos."""

    vectors: F32Matrix
    exclude: int | None = None
    """An item that is not to be found: the one that is searched with."""


class RankedItem(NamedTuple):
    """One item near a query, and the row of its nearest photo."""

    item: int
    distance: float
    row: int


@dataclass(frozen=True)
class SearchFilter:
    """Which items may be found."""

    condition: Condition | None = None
    """What must hold for them; None: every item is allowed."""
    min_distance: float = 0.0
    max_distance: float = inf
    group: Callable[[Sequence[int]], Sequence[Hashable]] | None = None
    """Ids of items → the group of each; only the nearest item of a group is found."""

    @property
    def is_by_distance(self) -> bool:
        """Whether it depends on how far an item is."""
        return self.min_distance > 0 or self.max_distance < inf


@dataclass(frozen=True)
class Ranking:
    """The items of one build, ranked by one index of it."""

    index: VectorIndex
    build: Build
    filter: SearchFilter

    def rank(self, queries: Sequence[QueryVectors], k: int) -> list[list[RankedItem]]:
        """Return, for each query, the k nearest allowed items by (distance, item id).

        There are fewer only where fewer are allowed. Distances are Euclidean. Memory grows with
        the number of queries times k: rank in blocks.
        """
        answers: list[list[RankedItem] | None] = [None] * len(queries)
        condition = self.filter.condition
        if condition is not None:
            # Where many items meet it, enough of the nearest do, and only those need be checked.
            self._round(queries, answers, k, GROWTH * k + EXTRA_ROWS, condition.among, None)
        count = k + EXTRA_ROWS
        while None in answers:
            self._round(queries, answers, k, count, self._allowed_items, self._allowed_rows)
            count *= GROWTH
        return [ranked or [] for ranked in answers]

    def _round(
        self,
        queries: Sequence[QueryVectors],
        answers: list[list[RankedItem] | None],
        k: int,
        count: int,
        select: Callable[[Ids], Ids],
        allowed_rows: Ids | None,
    ) -> None:
        """Search for `count` rows, among the allowed ones; fill in the answers that are now final.

        `select` takes items and returns those that meet the condition; it may return others too.
        """
        open_queries = [i for i, answer in enumerate(answers) if answer is None]
        vectors = np.concatenate([queries[i].vectors for i in open_queries])
        neighbors = self.index.search(vectors, count, allowed_rows)
        available = self.index.rows if allowed_rows is None else len(allowed_rows)
        start = 0
        for i in open_queries:
            part = slice(start, start := start + len(queries[i].vectors))
            distances, rows = neighbors.distances[part], neighbors.rows[part]
            # Every row nearer than the frontier has been seen, by each of the query's vectors.
            frontier = inf if count >= available else float(distances[:, -1].min())
            ranked = self._items(distances, rows, queries[i].exclude, select)[:k]
            is_full = len(ranked) == k and ranked[-1].distance < frontier
            if is_full or frontier == inf or frontier > self.filter.max_distance:
                answers[i] = ranked

    @cached_property
    def _allowed_rows(self) -> Ids | None:
        """The rows that show an item which meets the condition; None if there is no condition."""
        if self.filter.condition is None:
            return None
        ids = self.build.ids
        return np.unique(ids[np.isin(ids[:, 1], self.filter.condition.items), 0])

    def _allowed_items(self, items: Ids) -> Ids:
        return items if self.filter.condition is None else self.filter.condition.items

    def _items(
        self,
        distances: F64Array,
        rows: Ids,
        exclude: int | None,
        select: Callable[[Ids], Ids],
    ) -> list[RankedItem]:
        """The allowed items that these rows show, each once, by (distance, id)."""
        entries, counts = self.build.expand_rows(rows.ravel())
        items = self.build.ids[entries, 1]
        item_distances = np.repeat(distances.ravel(), counts)
        # Of an item's equally near photos the one with the lowest hash, wherever their rows are.
        photos = self.build.photos[rows.ravel()].view("S32").ravel()
        order = np.lexsort((np.repeat(photos, counts), items, item_distances))
        _, first = np.unique(items[order], return_index=True)
        nearest = order[np.sort(first)]
        nearest = nearest[self._in_range(item_distances[nearest])]
        nearest = nearest[items[nearest] != (-1 if exclude is None else exclude)]
        nearest = nearest[np.isin(items[nearest], select(items[nearest]))]
        nearest = nearest[self._first_of_groups(items[nearest].tolist())]
        return [
            RankedItem(item, distance, row)
            for item, distance, row in zip(
                items[nearest].tolist(),
                item_distances[nearest].tolist(),
                self.build.ids[entries[nearest], 0].tolist(),
                strict=True,
            )
        ]

    def _in_range(self, distances: F64Array) -> Mask:
        limits = self.filter
        mask: Mask = (distances >= limits.min_distance) & (distances <= limits.max_distance)
        return mask

    def _first_of_groups(self, items: Sequence[int]) -> list[int]:
        """Positions of the items that are the first of their group."""
        if self.filter.group is None:
            return list(range(len(items)))
        first: dict[Hashable, int] = {}
        for position, group in enumerate(self.filter.group(items)):
            first.setdefault(group, position)
        return list(first.values())
