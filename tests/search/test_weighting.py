"""weighting.py: engines fused by distances, compared with distances to every item."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from pipeline import open as open_searcher
from pipeline.index.calibration import Calibration
from pipeline.publish.tuning import FittedFusion
from pipeline.search.query import Item
from pipeline.search.searcher import Searcher
from pipeline.search.weighting import fuse_weighted, typical_distance, weighted_orders
from tests.engines import VIEWS, Fair, Opener, Thing, open_fair

__all__ = ["open_fair"]

SCALES = {"color": 2.0, "mixed": 5.0, "red": 0.5}


def fitted(weights: Mapping[str, float]) -> FittedFusion:
    return FittedFusion(SCALES, (weights,), dict.fromkeys(SCALES, 0.0))


def some_colors(count: int, seed: int) -> dict[str, Thing]:
    """Items of one to three photos, some of them shared."""
    random = np.random.default_rng(seed)
    colors = [
        [tuple(c) for c in random.integers(0, 40, (random.integers(1, 4), 3)).tolist()]
        for _ in range(count)
    ]
    return {f"k{n}": Thing(list(dict.fromkeys(of_item))) for n, of_item in enumerate(colors)}


def distances_by_hand(
    fair: Fair, things: Mapping[str, Thing], query: str, engine: str
) -> dict[int, float]:
    """Id → how far each other item's nearest photo is from the nearest of the query's."""
    vectors = {
        key: VIEWS[engine](np.float32(thing.colors)).astype(np.float64)
        for key, thing in things.items()
    }
    return {
        fair.id_of(key): float(np.linalg.norm(own[:, np.newaxis] - vectors[query], axis=2).min())
        for key, own in vectors.items()
        if key != query
    }


def fuse_all(
    searcher: Searcher, query: Item, weights: FittedFusion, depth: int, k: int
) -> list[tuple[int, float]]:
    answers = {name: one.search(query, depth) for name, one in searcher.engines.items()}
    to_query = {
        name: lambda ids, name=name: searcher.engines[name].item_distances.to(
            ids, answers[name].searched
        )
        for name in answers
    }
    lists = {name: answer.hits for name, answer in answers.items()}
    return [(hit.item.id, hit.score) for hit in fuse_weighted(lists, k, weights, to_query)]


@pytest.mark.parametrize("seed", range(4))
def test_items_come_by_their_weighted_distances(open_fair: Opener, seed: int) -> None:
    fair, things = open_fair("color", "mixed", "red"), some_colors(30, seed)
    fair.build(things)
    weights = {"color": 0.5, "mixed": 0.3, "red": 0.2}
    by_hand: dict[int, float] = dict.fromkeys(map(fair.id_of, things), 0.0)
    del by_hand[fair.id_of("k0")]
    for engine, weight in weights.items():
        for item, distance in distances_by_hand(fair, things, "k0", engine).items():
            by_hand[item] += weight * distance / SCALES[engine]
    expected = sorted((round(distance, 9), item) for item, distance in by_hand.items())
    with open_searcher(fair.config) as searcher:
        found = fuse_all(searcher, Item(fair.id_of("k0")), fitted(weights), 30, 29)
    assert [(round(1 / score - 1, 9), item) for item, score in found] == expected


def test_an_item_below_the_end_of_a_list_is_judged_by_that_engine_too(open_fair: Opener) -> None:
    """`far` is second by `red` and last by `color`, which lists two items only."""
    fair = open_fair("color", "red")
    colors = {"q": (50, 0, 0), "a": (52, 0, 0), "b": (54, 1, 0), "far": (53, 250, 250)}
    fair.build({key: Thing([color]) for key, color in colors.items()})
    with open_searcher(fair.config) as searcher:
        weights = fitted({"color": 0.5, "red": 0.5})
        found = fuse_all(searcher, Item(fair.id_of("q")), weights, 2, 4)
    assert [item for item, _ in found] == [fair.id_of(key) for key in ("a", "b", "far")]


@pytest.mark.parametrize("engine", ["color", "mixed", "red"])
def test_all_weight_on_one_engine_is_its_list(open_fair: Opener, engine: str) -> None:
    fair = open_fair("color", "mixed", "red")
    fair.build(some_colors(30, 9))
    weights = fitted({name: float(name == engine) for name in SCALES})
    with open_searcher(fair.config) as searcher:
        query = Item(fair.id_of("k3"))
        own = [hit.item.id for hit in searcher.engines[engine].search(query, 7).hits]
        assert [item for item, _ in fuse_all(searcher, query, weights, 7, 30)] == own


def test_engines_that_were_not_fitted_together_answer_by_the_best() -> None:
    fusion = FittedFusion({}, ({"a": 0.4, "b": 0.6},), {"a": 0.1, "b": 0.2, "c": 0.3})
    assert fusion.of(["b", "a"]) == {"b": 0.6, "a": 0.4}
    assert fusion.of(["a", "c"]) == {"a": 0.0, "c": 1.0}


@pytest.mark.parametrize(
    ("distances", "typical"), [([1, 2, 9], 2), ([0, 0, 0, 8], 2), ([0, 0], 1), ([], 1)]
)
def test_a_typical_distance_is_never_0(distances: list[float], typical: float) -> None:
    assert typical_distance(Calibration({"": np.array(distances, np.float64)})) == typical


def test_whole_rankings_are_fused_as_lists_are() -> None:
    """Items beyond the depth of both lists come after those that one of them has."""
    distances = np.array([[[1.0, 2, 3, 4, np.inf]], [[4, 3, 2.5, 0, np.inf]]])
    orders = [np.argsort(of_engine, axis=1) for of_engine in distances]
    by = {
        depth: weighted_orders(orders, distances, np.array([[1.0, 1.0]]), depth)[0].tolist()
        for depth in (1, 5)
    }
    assert by == {5: [3, 0, 1, 2, 4], 1: [3, 0, 1, 2, 4]}
    alone = weighted_orders(orders, distances, np.array([[0.0, 2.0]]), 5)
    assert alone.tolist() == orders[1].tolist()
