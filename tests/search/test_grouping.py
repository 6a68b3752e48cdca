"""Groups that lie far apart: the nearest of each, found in few searches."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from pipeline.index.base import F32Matrix, Ids, Neighbors
from pipeline.index.builds import RowItems
from pipeline.search.ranking import QueryVectors, Ranking, SearchFilter

ROWS = 3000


class BruteForce:
    """Compares with every vector, and counts how often it was asked."""

    def __init__(self, vectors: F32Matrix) -> None:
        self.all, self.rows, self.searches = vectors.astype(np.float64), len(vectors), 0

    def search(self, queries: F32Matrix, k: int, allowed: Ids | None = None) -> Neighbors:
        self.searches += 1
        rows = np.arange(self.rows) if allowed is None else allowed
        distances = np.linalg.norm(queries[:, np.newaxis] - self.all[rows], axis=2)
        order = np.argsort(distances, axis=1, kind="stable")[:, :k]
        return Neighbors(
            np.take_along_axis(distances, order, 1), rows[order], np.zeros(len(queries))
        )


def ranking(groups: int, seed: int) -> tuple[Ranking, BruteForce, Ids, Ids]:
    """Items whose groups lie one behind the other; the first rows show two items each."""
    rng = np.random.default_rng(seed)
    group_of_item = np.sort(rng.integers(0, groups, ROWS + 101))
    item_rows = np.arange(1, ROWS + 1) - 1
    shared = np.column_stack([np.arange(100), np.arange(ROWS + 1, ROWS + 101)])
    ids = np.concatenate([np.column_stack([item_rows, np.arange(1, ROWS + 1)]), shared])
    ids = ids[np.lexsort((ids[:, 1], ids[:, 0]))]
    vectors = rng.standard_normal((ROWS, 4)).astype(np.float32)
    vectors[:, 0] += 5 * group_of_item[1 : ROWS + 1]
    row_items = RowItems(ROWS, ids)
    photos = rng.integers(0, 255, (ROWS, 32)).astype(np.uint8)
    build = SimpleNamespace(ids=ids, photos=photos, expand_rows=row_items.expand_rows)
    index = BruteForce(vectors)
    filter_ = SearchFilter(group=lambda items: group_of_item[items])
    return Ranking(cast(Any, index), cast(Any, build), filter_), index, ids, group_of_item


@pytest.mark.parametrize(("groups", "k"), [(1, 3), (5, 10), (8, 4), (300, 10), (5, 1)])
@pytest.mark.parametrize("exclude", [None, 2, ROWS])
def test_the_nearest_item_of_each_group_is_found(groups: int, k: int, exclude: int | None) -> None:
    ranked, index, ids, group_of_item = ranking(groups, seed=groups)
    for vectors in (index.all[:1], index.all[[1500, 2999]]):
        xq = vectors.astype(np.float32)
        distances = np.linalg.norm(index.all[:, np.newaxis] - xq, axis=2).min(axis=1)
        order = np.lexsort((ids[:, 1], distances[ids[:, 0]]))
        items = [item for item in ids[order, 1].tolist() if item != exclude]
        first: dict[int, int] = {}
        for item in items:
            first.setdefault(int(group_of_item[item]), item)
        index.searches = 0
        (found,) = ranked.rank([QueryVectors(xq, exclude)], k)
        assert [one.item for one in found] == list(first.values())[:k]
        assert index.searches <= min(k, groups) + 3


def test_items_at_one_distance_are_told_apart() -> None:
    ranked, index, _, group_of_item = ranking(5, seed=0)
    index.all[:] = 1  # so that no first rows are the nearest
    (found,) = ranked.rank([QueryVectors(np.ones((1, 4), np.float32))], 5)
    nearest = [int(np.flatnonzero(group_of_item[1:] == group)[0]) + 1 for group in range(5)]
    assert [one.item for one in found] == nearest
