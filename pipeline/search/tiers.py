"""Rank items tier by tier: all of the first one before those of the next, nearest first in each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from pipeline.catalog.words import ItemCondition, WordCondition
from pipeline.search.collapsing import collapse
from pipeline.search.ranking import QueryVectors, RankedItem, Ranking


def rank_tiers(
    ranking: Ranking, tiers: Iterable[ItemCondition], queries: Sequence[QueryVectors], k: int
) -> list[list[RankedItem]]:
    """Return what `Ranking.rank` does, with the items of each tier before those of the next one.

    A further tier is only looked at for queries of which the ones before have fewer than k items.

        rank_tiers(ranking, matches.tiers(), [query], 3)
    """
    plain = replace(ranking, filter=replace(ranking.filter, duplicates=None))
    lists = [_TieredList(ranking, query, k) for query in queries]
    for number, tier in enumerate(tiers):
        within = replace(plain, filter=replace(plain.filter, condition=tier))
        unfinished = [one for one in lists if len(one.shown) < k]
        if not unfinished:
            break
        for one in unfinished:
            one.extend(number, one.without_groups_found(within))
    return [one.shown for one in lists]


@dataclass
class _TieredList:
    """What one query finds in the tiers so far."""

    ranking: Ranking
    query: QueryVectors
    k: int
    ranked: list[RankedItem] = field(default_factory=list)
    """All of it, of each group the first item."""
    places: list[tuple[int, float]] = field(default_factory=list)
    """The tier and the distance of each."""
    shown: list[RankedItem] = field(default_factory=list)
    """The first k, with near-duplicates hidden behind them if the filter says so."""

    def without_groups_found(self, within: Ranking) -> Ranking:
        """Return the ranking of a tier without the items whose group an earlier tier has."""
        group, tier = self.ranking.filter.group, within.filter.condition
        if group is None or tier is None or not self.ranked:
            return within
        found = group(np.array([one.item for one in self.ranked], np.int64))
        others = WordCondition(tier.items[~np.isin(group(tier.items), found)])
        return replace(within, filter=replace(within.filter, condition=others))

    def extend(self, number: int, within: Ranking) -> None:
        """Add the items of a tier, as many as it takes to show k."""
        count, ranked, places = self.k, self.ranked, self.places
        while True:
            (found,) = within.rank([self.query], count)
            self.ranked = [*ranked, *found]
            self.places = [*places, *((number, one.distance) for one in found)]
            if self._is_shown() or len(found) < count:
                return
            count *= 2

    def _is_shown(self) -> bool:
        """Show the first k; return whether there are so many, and all that they hide is known."""
        duplicates = self.ranking.filter.duplicates
        if duplicates is None:
            self.shown = self.ranked[: self.k]
            return len(self.shown) == self.k
        photos = [self.ranking.build.photos[one.row].tobytes() for one in self.ranked]
        firsts = collapse(photos, self.places, self.k, duplicates)
        self.shown = [
            self.ranked[first]._replace(similar=tuple(self.ranked[i].item for i in hidden))
            for first, hidden in firsts.items()
        ]
        return len(firsts) == self.k and self.places[max(firsts)] < self.places[-1]
