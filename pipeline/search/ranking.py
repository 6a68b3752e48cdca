"""Rank: the nearest rows of an index → the nearest items that a filter allows.

A row is a distinct photo; an item is as near as the nearest of its photos is. Rows are searched for
in growing numbers until no further row can change the first k items.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.catalog.words import ItemCondition, WordMatches
from pipeline.index.base import F32Matrix, Ids, VectorIndex
from pipeline.index.builds import Build
from pipeline.search.collapsing import collapse

if TYPE_CHECKING:
    from pipeline.duplicates.near_duplicates import NearDuplicates

F64Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
EXTRA_ROWS = 2  # searched for beyond k: the first rows often show several items, or the query's own
GROWTH = 4  # how many times more rows each further round searches for


class QueryVectors(NamedTuple):
    """One query: (m, dim) vectors, more than one if it is an item of several photos."""

    vectors: F32Matrix
    exclude: tuple[int, ...] = ()
    """Items that are not to be found: what is searched with."""


class RankedItem(NamedTuple):
    """One item near a query, and the row of its nearest photo."""

    item: int
    distance: float
    row: int
    similar: tuple[int, ...] = ()
    """Items that are not further away, and hidden behind it."""


@dataclass(frozen=True)
class SearchFilter:
    """Which items may be found."""

    condition: ItemCondition | None = None
    """What must hold for them; None: every item is allowed."""
    min_distance: float = 0.0
    max_distance: float = inf
    group: Callable[[Ids], Ids] | None = None
    """(n,) ids of items → (n,) the number of the group of each, of which only the nearest item is
    found."""
    words: WordMatches | None = None
    """Items that have words, of which they must have any; those that have more go first."""
    duplicates: NearDuplicates | None = None
    """By which near-duplicates of what is found are hidden behind it; None: none are."""

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
        if queries and self.filter.condition is not None and self._is_often_met:
            # Then enough of the nearest meet it, and a search among all rows is faster.
            self._round(queries, answers, k, GROWTH * k + EXTRA_ROWS, None)
        count = k + EXTRA_ROWS
        while None in answers:
            self._round(queries, answers, k, count, self._rows(self._is_allowed))
            count *= GROWTH
            is_long = count > GROWTH**2 * k and self.filter.duplicates is None
            if self.filter.group is not None and is_long:
                for i in (i for i, answer in enumerate(answers) if answer is None):
                    answers[i] = self._rank_groups(self.filter.group, queries[i], k, count)
        return [ranked or [] for ranked in answers]

    def _round(
        self,
        queries: Sequence[QueryVectors],
        answers: list[list[RankedItem] | None],
        k: int,
        count: int,
        among: Ids | None,
    ) -> None:
        """Search for `count` rows, among these if given; fill in the answers that are now final."""
        open_queries = [i for i, answer in enumerate(answers) if answer is None]
        some = [queries[i] for i in open_queries]
        found = self._search(some, count, among, self._is_allowed)
        for i, (items, frontier) in zip(open_queries, found, strict=True):
            ranked = self._shown(items, k)
            is_full = len(ranked) == k and ranked[-1].distance < frontier
            if is_full or frontier == inf or frontier > self.filter.max_distance:
                answers[i] = ranked

    def _rank_groups(
        self, group: Callable[[Ids], Ids], query: QueryVectors, k: int, count: int
    ) -> list[RankedItem]:
        """Return the nearest item of each of the k nearest groups.

        Where the nearest rows are all of few groups, the next are searched for among the rows of
        other groups: each round finds one group more at least, or else asks for more rows.
        """
        groups = group(self.build.ids[:, 1])
        is_open = np.ones(len(groups), np.bool_) if self._is_allowed is None else self._is_allowed
        found: list[RankedItem] = []
        while len(found) < k:
            among = self._rows(is_open)
            ((ranked, frontier),) = self._search([query], count, among, is_open)
            new = [one for one in ranked if one.distance < frontier]
            found += new
            if frontier == inf or frontier > self.filter.max_distance:
                break
            closed = group(np.array([one.item for one in new], np.int64))
            is_open = is_open & ~np.isin(groups, closed)
            count = count if new else count * GROWTH
        return found[:k]

    def _search(
        self,
        queries: Sequence[QueryVectors],
        count: int,
        among: Ids | None,
        is_allowed: Mask | None,
    ) -> list[tuple[list[RankedItem], float]]:
        """Search for `count` rows, among these if given → allowed items that they show, frontier.

        Every row nearer than the frontier has been seen, by each of the query's vectors.
        """
        vectors = np.concatenate([query.vectors for query in queries])
        neighbors = self.index.search(vectors, count, among)
        available = self.index.rows if among is None else len(among)
        start, found = 0, []
        for query in queries:
            part = slice(start, start := start + len(query.vectors))
            distances, rows = neighbors.distances[part], neighbors.rows[part]
            frontier = inf if count >= available else float(distances[:, -1].min())
            found.append((self._items(distances, rows, query.exclude, is_allowed), frontier))
        return found

    def _shown(self, ranked: Sequence[RankedItem], k: int) -> list[RankedItem]:
        """The first k, with near-duplicates hidden behind them if the filter says so."""
        if self.filter.duplicates is None:
            return list(ranked[:k])
        photos = [self.build.photos[item.row].tobytes() for item in ranked]
        places = collapse(photos, [item.distance for item in ranked], k, self.filter.duplicates)
        return [
            ranked[first]._replace(similar=tuple(ranked[i].item for i in hidden))
            for first, hidden in places.items()
        ]

    @cached_property
    def _is_allowed(self) -> Mask | None:
        """(m,): whether the item of each entry of the build's `ids` meets the condition, if any."""
        condition = self.filter.condition
        return None if condition is None else condition.holds(self.build.ids[:, 1])

    @cached_property
    def _is_often_met(self) -> bool:
        return self._is_allowed is None or bool(GROWTH * self._is_allowed.mean() >= 1)

    def _rows(self, is_allowed: Mask | None) -> Ids | None:
        """The rows of these entries of the build's `ids`, ascending; None: all rows."""
        if is_allowed is None:
            return None
        rows: Ids = self.build.ids[is_allowed, 0]
        is_first: Mask = np.append(True, rows[1:] != rows[:-1])[: len(rows)]
        distinct: Ids = rows[is_first]
        return distinct

    def _items(
        self,
        distances: F64Array,
        rows: Ids,
        exclude: tuple[int, ...],
        is_allowed: Mask | None,
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
        nearest = nearest[~np.isin(items[nearest], exclude)]
        if is_allowed is not None:
            nearest = nearest[is_allowed[entries[nearest]]]
        nearest = nearest[self.first_of_groups(items[nearest])]
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

    def first_of_groups(self, items: Ids) -> Ids | slice:
        """Return the positions of the items, (n,) ids, that are the first of their group."""
        if self.filter.group is None:
            return slice(None)
        _, first = np.unique(self.filter.group(items), return_index=True)
        return np.sort(first)
