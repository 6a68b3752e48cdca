"""Reciprocal rank fusion: against its definition, and the fusion of whole rankings against it."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.catalog.records import ItemRecord, State
from pipeline.evaluation.experiment import fused
from pipeline.search.fusion import fuse
from pipeline.search.result import Hit


def hit(item: int, name: str = "", photo: Path | None = None) -> Hit:
    record = ItemRecord(item, f"key {item}", name, "things", {"n": item}, State.AVAILABLE, "")
    return Hit(1, 0.0, None, record, photo, "")


def neighbors(items: Sequence[int]) -> list[Hit]:
    return [hit(item) for item in items]


def by_definition(lists: Sequence[Sequence[int]], constant: int = 60) -> list[int]:
    """Items by the sum of 1 / (constant + rank) in exact arithmetic, then by id."""
    scores: dict[int, Fraction] = {}
    for items in lists:
        for rank, item in enumerate(items, 1):
            scores[item] = scores.get(item, Fraction(0)) + Fraction(1, constant + rank)
    return sorted(scores, key=lambda item: (-scores[item], item))


two_lists = st.tuples(
    st.lists(st.integers(1, 40), unique=True, max_size=25),
    st.lists(st.integers(1, 40), unique=True, max_size=25),
)


@settings(max_examples=200, deadline=None)
@given(two_lists, st.integers(1, 30), st.sampled_from([0, 1, 60]))
def test_two_lists_are_fused_by_definition(
    lists: tuple[list[int], list[int]], k: int, constant: int
) -> None:
    named = {f"engine {at}": neighbors(items) for at, items in enumerate(lists)}
    found = fuse(named, k, constant)
    assert [one.item.id for one in found] == by_definition(lists, constant)[:k]
    assert [one.rank for one in found] == list(range(1, len(found) + 1))
    for one in found:
        ranks = {
            f"engine {at}": items.index(one.item.id) + 1
            for at, items in enumerate(lists)
            if one.item.id in items
        }
        assert one.ranks == ranks
        assert one.score == pytest.approx(sum(1 / (constant + rank) for rank in ranks.values()))


def test_three_lists_are_fused_by_definition() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        lists = [rng.permutation(30)[:20].tolist() for _ in range(3)]
        found = fuse({f"{at}": neighbors(items) for at, items in enumerate(lists)}, 50)
        exact = {item: Fraction(0) for item in range(30)}
        for items in lists:
            for rank, item in enumerate(items, 1):
                exact[item] += Fraction(1, 60 + rank)
        scores = [float(exact[one.item.id]) for one in found]
        assert scores == sorted(scores, reverse=True)
        assert {one.item.id for one in found} == {item for items in lists for item in items}


def test_a_fused_item_is_described_as_by_the_first_engine_that_has_it() -> None:
    a, b = Path("a.jpg"), Path("b.jpg")
    lists = {"a": [hit(5, "Five", a)], "b": [hit(7, "Seven"), hit(5, "Five", b)]}
    first, second = fuse(lists, 2)
    assert (first.item, first.photo) == (hit(5, "Five").item, a)
    assert first.ranks == {"a": 1, "b": 2}
    assert first.score == pytest.approx(1 / 61 + 1 / 62)
    assert (second.item.id, second.ranks, second.score) == (7, {"b": 1}, pytest.approx(1 / 61))


def test_one_list_keeps_its_order_and_no_list_is_empty() -> None:
    assert [one.item.id for one in fuse({"a": neighbors([9, 2, 5])}, 2)] == [9, 2]
    assert fuse({}, 3) == ()
    assert fuse({"a": [], "b": []}, 3) == ()


def test_equal_scores_go_by_id() -> None:
    found = fuse({"a": neighbors([8, 3]), "b": neighbors([3, 8]), "c": []}, 5)
    assert [one.item.id for one in found] == [3, 8]
    # 1/3 + 1/6 is 1/2, but not in floating point whatever the order.
    one, other = [9, 8, 2, 7, 6, 5], [4, 10, 11, 12, 13, 2]
    found = fuse({"a": neighbors(one), "b": neighbors(other)}, 9, constant=0)
    assert [one.item.id for one in found[:4]] == [4, 9, 2, 8]


@pytest.mark.parametrize("depth", [3, 10, 100])
@pytest.mark.parametrize("engines", [2, 3])
def test_whole_rankings_are_fused_as_queries_are(engines: int, depth: int) -> None:
    rng = np.random.default_rng(depth)
    n, queries = 30, 12
    orders = [np.stack([rng.permutation(n) for _ in range(queries)]) for _ in range(engines)]
    sizes = rng.integers(1, n + 1, queries)
    # What a query leaves out is at the end of every engine's ranking.
    for query, size in enumerate(sizes):
        out = set(rng.choice(n, n - size, replace=False).tolist())
        for order in orders:
            kept = [item for item in order[query].tolist() if item not in out]
            order[query] = [*kept, *sorted(out)]
    for query, found in enumerate(fused(orders, depth)):
        assert sorted(found.tolist()) == list(range(n))
        size = int(sizes[query])
        lists = {
            f"{at}": neighbors(order[query, :size][:depth].tolist())
            for at, order in enumerate(orders)
        }
        front = [one.item.id for one in fuse(lists, n)]
        assert found[: len(front)].tolist() == front
        # Behind them, by whole lists; what is left out is last.
        rest = by_definition([order[query, :size].tolist() for order in orders])
        if engines == 2:
            assert found[len(front) : size].tolist() == [i for i in rest if i not in front]
        assert set(found[:size].tolist()) == set(rest)


def test_beyond_the_depth_of_all_lists_nothing_comes_before_what_is_within_one() -> None:
    n = 400
    order = np.arange(n)[np.newaxis]
    turned = np.roll(order, -200, axis=1)  # items 100 to 199 are within no list's depth
    (found,) = fused([order, turned])
    assert set(found[:200].tolist()) == {*range(100), *range(200, 300)}
