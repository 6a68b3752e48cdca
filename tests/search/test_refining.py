"""refining.py: compared with loops over single vectors, and searches that are refined."""

from __future__ import annotations

from math import sqrt

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.index.base import F32Matrix
from pipeline.search import refining
from pipeline.search.query import Item
from pipeline.search.refining import expand, rerank
from tests.engines import Fair, Opener, Thing, open_fair

__all__ = ["open_fair"]

F64 = npt.NDArray[np.float64]


def clustered(count: int, dim: int, seed: int) -> tuple[F32Matrix, F32Matrix]:
    """A query, and vectors in clusters, the nearest to it first."""
    random = np.random.default_rng(seed)
    centers = random.normal(0, 2, (5, dim))
    found = centers[random.integers(0, 5, count)] + random.normal(0, 1, (count, dim))
    query = (centers[:1] + random.normal(0, 1, (1, dim))).astype(np.float32)
    order = np.argsort(np.linalg.norm(found - query, axis=1))
    return query, found[order].astype(np.float32)


def similarity(one: F64, other: F64, typical: float) -> float:
    return max(1 - float(((one - other) ** 2).sum()) / (2 * typical**2), 0)


def typical_of(found: F32Matrix) -> float:
    apart = found[:, np.newaxis].astype(np.float64) - found
    return float(np.median(np.sqrt((apart**2).sum(axis=2))))


@pytest.mark.parametrize("seed", range(3))
def test_a_query_is_expanded_by_what_it_is_mutually_near_to(seed: int) -> None:
    query, found = clustered(60, 4, seed)
    x, q = found.astype(np.float64), query[0].astype(np.float64)
    typical = typical_of(found)
    total, weight = q.copy(), 1.0
    for i in range(refining.EXPANDED_BY):
        own = np.sort(np.linalg.norm(x - x[i], axis=1))  # the first is itself
        if np.linalg.norm(q - x[i]) <= own[refining.MUTUAL_RANK]:
            one = similarity(q, x[i], typical)
            total, weight = total + one * x[i], weight + one
    assert weight > 1
    assert expand(query, found)[0] == pytest.approx(total / weight, rel=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_what_is_found_is_sorted_by_what_it_is_near_to(seed: int) -> None:
    query, found = clustered(40, 4, seed)
    x, q = found.astype(np.float64), query[0].astype(np.float64)
    typical = typical_of(found)
    expanded, weight = q.copy(), 1.0
    for i in range(refining.NEIGHBORS):
        one = similarity(q, x[i], typical)
        expanded, weight = expanded + one * x[i], weight + one
    expanded /= weight
    scores = []
    for i in range(len(x)):
        near = np.argsort(np.linalg.norm(x - x[i], axis=1))[1 : refining.NEIGHBORS + 1]
        weights = [similarity(x[i], x[j], typical) for j in near]
        refined = (x[i] + sum(w * x[j] for w, j in zip(weights, near, strict=True))) / (
            1 + sum(weights)
        )
        scores.append(((refined - q) ** 2).sum() + ((x[i] - expanded) ** 2).sum())
    assert rerank(query, found).tolist() == np.argsort(scores).tolist()


@pytest.mark.parametrize("count", [0, 1, 2])
def test_little_is_refined_too(count: int) -> None:
    query, found = clustered(count, 3, 1)
    assert expand(query, found).shape == query.shape
    assert sorted(rerank(query, found).tolist()) == list(range(count))


def test_equal_vectors_are_left_as_they_are() -> None:
    same = np.ones((30, 3), np.float32)
    assert expand(same[:1], same).tolist() == same[:1].tolist()
    assert rerank(same[:1], same).tolist() == list(range(30))


def shop_of(open_fair: Opener, count: int = 60) -> Fair:
    random = np.random.default_rng(3)
    colors = [tuple(color) for color in random.integers(0, 60, (count, 3)).tolist()]
    fair = open_fair("color")
    fair.build({f"k{n}": Thing([color]) for n, color in enumerate(colors)})
    return fair


@pytest.mark.parametrize("refine", ["expand", "rerank"])
def test_distances_are_those_from_the_query_itself(open_fair: Opener, refine: str) -> None:
    fair = shop_of(open_fair)
    with fair.searcher("color") as searcher:
        plain = searcher.search(Item(5), 59)
        refined = searcher.search(Item(5), 59, refine=refine)
        few = searcher.search(Item(5), 4, refine=refine)
    assert (plain.refined, refined.refined) == (None, refine)
    assert "refined" not in plain.to_dict()
    ids = [hit.item.id for hit in refined.hits]
    assert [hit.item.id for hit in few.hits] == ids[:4]
    assert ids != [hit.item.id for hit in plain.hits]
    by_id = {hit.item.id: hit.distance for hit in plain.hits}
    assert {hit.item.id: hit.distance for hit in refined.hits} == pytest.approx(by_id)
    assert [hit.rank for hit in refined.hits] == list(range(1, 60))


def test_an_expanded_search_finds_what_is_near_the_expanded_query(open_fair: Opener) -> None:
    fair = shop_of(open_fair)
    with fair.searcher("color") as searcher:
        result = searcher.search(Item(5), 9, refine="expand", where="id > 20")
        assert result.searched is not None
        vectors = searcher.index.vectors(np.arange(searcher.index.rows)).astype(np.float64)
        items = searcher.build.row_items.first
    distances = np.linalg.norm(vectors - result.searched.vectors, axis=1)
    order = [int(item) for item in items[np.lexsort((items, distances))] if item > 20]
    assert [hit.item.id for hit in result.hits] == order[:9]


def test_a_search_by_distance_is_not_expanded(open_fair: Opener) -> None:
    fair = shop_of(open_fair)
    with fair.searcher("color") as searcher:
        plain = searcher.search(Item(5), 9, max_distance=30 * sqrt(3))
        assert searcher.search(Item(5), 9, max_distance=30 * sqrt(3), refine="expand") == plain


def test_what_was_not_measured_is_not_refined(open_fair: Opener) -> None:
    fair = shop_of(open_fair)
    with fair.searcher("color") as searcher:
        assert searcher.search(Item(5), 9, refine="measured") == searcher.search(Item(5), 9)
