"""Rank items tier by tier: all of the first one before those of the next, nearest first in each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from pipeline.catalog.words import ItemCondition
from pipeline.search.collapsing import collapse
from pipeline.search.ranking import QueryVectors, RankedItem, Ranking


def rank_tiers(
    ranking: Ranking, tiers: Iterable[ItemCondition], queries: Sequence[QueryVectors], k: int
) -> list[list[RankedItem]]:
    """Return what `Ranking.rank` does, with the items of each tier before those of the next one.

    A further tier is only looked at for queries of which the ones before have fewer than k items.

        rank_tiers(ranking, matches.tiers(), [query], 3)
    """
    answers: list[list[RankedItem]] = [[] for _ in queries]
    for tier in tiers:
        missing = [i for i, answer in enumerate(answers) if len(answer) < k]
        if not missing:
            break
        within = replace(ranking, filter=replace(ranking.filter, condition=tier))
        for i in missing:
            answers[i] = _extended(within, answers[i], queries[i], k)
    return answers


def _extended(
    within: Ranking, before: Sequence[RankedItem], query: QueryVectors, k: int
) -> list[RankedItem]:
    """The items of the tiers before, and behind them those of this one, k in all if there are."""
    count = k
    while True:
        (found,) = within.rank([query], count)
        both = [*before, *found]
        firsts = within.first_of_groups(np.array([one.item for one in both], np.int64))
        places = np.arange(len(both))[firsts].tolist()
        shown = _collapsed(within, [both[place] for place in places], k)
        if len(shown) == k or len(found) < count:
            return shown
        count *= 2


def _collapsed(within: Ranking, ranked: Sequence[RankedItem], k: int) -> list[RankedItem]:
    """The first k, with near-duplicates of other tiers hidden behind them if the filter says so."""
    duplicates = within.filter.duplicates
    if duplicates is None:
        return list(ranked[:k])
    photos = [within.build.photos[one.row].tobytes() for one in ranked]
    places = collapse(photos, range(len(ranked)), k, duplicates)  # distances begin anew in a tier
    return [
        ranked[first]._replace(similar=_similar([ranked[i] for i in (first, *hidden)]))
        for first, hidden in places.items()
    ]


def _similar(ranked: Sequence[RankedItem]) -> tuple[int, ...]:
    """What the first one hides: the others, and what each of them hides; each item once."""
    ids = [item for one in ranked for item in (one.item, *one.similar)]
    return tuple(item for item in dict.fromkeys(ids) if item != ranked[0].item)
