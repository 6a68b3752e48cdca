"""Rank items tier by tier: all of the first one before those of the next, nearest first in each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from pipeline.catalog.words import ItemCondition
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
        found = within.rank([queries[i] for i in missing], k)
        for i, ranked in zip(missing, found, strict=True):
            both = [*answers[i], *ranked]
            positions = np.arange(len(both))
            firsts = ranking.first_of_groups(np.array([one.item for one in both], np.int64))
            answers[i] = [both[position] for position in positions[firsts][:k].tolist()]
    return answers
