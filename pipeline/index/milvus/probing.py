"""How many lists of a collection a search has to look into, to keep a promise of recall.

Milvus does not say which list a row is in. But it finds a row as soon as it looks into that list,
so searches of more and more lists tell how many come before it (`tuning` says what that is for).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from pipeline.index.base import F64Matrix, Ids, VectorIndex
from pipeline.index.milvus.collection import Collection, ListLevel
from pipeline.index.milvus.index import MilvusIndex
from pipeline.index.milvus.server import MilvusServer
from pipeline.index.probing import Level
from pipeline.index.recall import EXACT
from pipeline.index.tuning import sample_pairs, tune

GROWTH = 1.4  # times as many lists are looked into, to see what is found in them


def find_levels(server: MilvusServer, collection: Collection, index: VectorIndex) -> Collection:
    """Return a loaded collection with what its promise takes, and the recall that was measured.

    `index` is the exact one that it was written from. Where only exact answers are sure to keep the
    promise, there are no levels: `find_levels(server, collection, flat).measured`.

    Raises:
        VectorDatabaseError: the server does not answer.
    """

    def served(levels: Sequence[Level]) -> MilvusIndex:
        known = tuple(ListLevel(one.distance, int(one.effort)) for one in levels)
        return MilvusIndex(server, replace(collection, levels=known), index)

    pairs = sample_pairs(index, partial(_lists_needed, served([])))
    promise = collection.promise or 0.0
    levels, measured = tune(served, index, pairs, promise)
    return replace(served(levels).collection, measured=measured or EXACT)


def _lists_needed(
    served: MilvusIndex, rows: Ids, neighbors: Ids, farther: int
) -> tuple[F64Matrix, F64Matrix]:
    """(n,) rows, (n, m) others → (n, m) zeros, and how many of the nearest lists have them.

    The others are among so many nearest rows, and so among those of any lists that have them.
    """
    lists = served.collection.lists
    needed = np.full(neighbors.shape, float(lists))
    queries = served.vectors(rows)
    for count in _fewer_and_fewer(lists):
        found = served.rows_within(queries, farther + 1, count)
        for number, some in enumerate(found):
            needed[number, np.isin(neighbors[number], some)] = count
    return np.zeros(neighbors.shape), needed


def _fewer_and_fewer(lists: int) -> list[int]:
    steps = GROWTH ** np.arange(np.log(lists) / np.log(GROWTH))
    return sorted(set(steps.astype(int).tolist()), reverse=True)
