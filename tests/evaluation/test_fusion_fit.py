"""fusion_fit.py: weights that are no worse than the best engine, on queries that they never saw."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.evaluation.candidates import Candidates
from pipeline.evaluation.fusion_fit import fit_fusion, fit_weights
from pipeline.index.base import F64Vector


def drawn(noise: list[float], queries: int, seed: int, shared: float = 0.0) -> Candidates:
    """Candidates of which the right ones are nearer by 1, but for noise of each engine's own."""
    random = np.random.default_rng(seed)
    relevant = random.random((queries, 40)) < 0.3
    common = random.normal(0, shared, relevant.shape)
    distances = np.array(
        [3 - relevant + common + random.normal(0, one, relevant.shape) for one in noise]
    )
    items = np.arange(relevant.size).reshape(relevant.shape) + queries
    return Candidates(
        tuple("abcdef"[: len(noise)]),
        np.arange(queries),
        items,
        np.abs(distances),
        relevant,
        np.zeros((len(noise), queries), np.bool_),
    )


def precision_at_3(candidates: Candidates, weights: list[float]) -> F64Vector:
    total = np.tensordot(np.array(weights), candidates.distances, axes=1)
    first = np.argsort(total, axis=1)[:, :3]
    precision: F64Vector = np.take_along_axis(candidates.relevant, first, axis=1).mean(axis=1)
    return precision


@pytest.mark.parametrize("noise", [[0.3, 3.0], [3.0, 0.3], [0.5, 8.0, 5.0]])
def test_a_weak_engine_gets_next_to_nothing(noise: list[float]) -> None:
    weights = fit_weights(drawn(noise, 400, 1))
    assert weights["abc"[int(np.argmin(noise))]] > 0.95


def test_engines_that_err_apart_are_fused_and_do_better() -> None:
    fitted = fit_weights(drawn([1.0, 1.0, 1.0], 400, 2))
    judged = drawn([1.0, 1.0, 1.0], 400, 3)
    best = max(precision_at_3(judged, row).mean() for row in np.eye(3).tolist())
    assert all(weight > 0 for weight in fitted.values())
    assert precision_at_3(judged, list(fitted.values())).mean() > best + 0.05


@pytest.mark.parametrize("seed", range(4))
def test_no_fusion_is_worse_than_the_best_engine_on_other_queries(seed: int) -> None:
    random = np.random.default_rng(seed)
    noise = random.uniform(0.3, 3, 3).tolist()
    shared = float(random.uniform(0, 1))
    weights = list(fit_weights(drawn(noise, 200, seed, shared)).values())
    judged = drawn(noise, 1000, seed + 100, shared)
    best = max(precision_at_3(judged, row).mean() for row in np.eye(3).tolist())
    assert precision_at_3(judged, weights).mean() >= best - 0.005


def test_equal_engines_are_not_fused() -> None:
    one = drawn([1.0], 400, 4)
    twice = Candidates(
        ("a", "b"),
        one.queries,
        one.items,
        one.distances.repeat(2, axis=0),
        one.relevant,
        one.learned.repeat(2, axis=0),
    )
    assert fit_weights(twice) == {"a": 1.0, "b": 0.0}


@pytest.mark.parametrize("queries", [0, 1, 20])
def test_few_queries_say_nothing(queries: int) -> None:
    assert sorted(fit_weights(drawn([1.0, 1.0], queries, 5)).values()) == [0.0, 1.0]


def test_every_set_of_engines_has_weights_of_its_own() -> None:
    fusion = fit_fusion(drawn([1.0, 2.0, 3.0], 60, 6), dict.fromkeys("abc", 1.0))
    assert sorted(map(len, fusion.weights)) == [2, 2, 2, 3]
    assert all(sum(weights.values()) == pytest.approx(1) for weights in fusion.weights)
    assert fusion.alone["a"] > fusion.alone["b"] > fusion.alone["c"]


def test_items_that_are_left_out_are_neither_queries_nor_candidates() -> None:
    given = Candidates(
        ("a",),
        np.array([1, 2]),
        np.array([[2, 3, 4], [1, 3, -1]]),
        np.array([[[1.0, 2, 3], [4, 5, np.inf]]]),
        np.array([[True, False, True], [True, True, False]]),
        np.array([[False, True]]),
    )
    left = given.without(np.array([2, 3]))
    assert left.queries.tolist() == [1]
    assert left.items.tolist() == [[-1, -1, 4]]
    assert left.distances.tolist() == [[[np.inf, np.inf, 3]]]
    assert left.relevant.tolist() == [[False, False, True]]
    assert left.learned.tolist() == [[False]]


def test_what_learned_the_labels_of_queries_is_not_flattered_by_them() -> None:
    """`a` is right wherever it was shown the label, and a guess elsewhere."""
    guess, known = drawn([8.0, 2.0], 300, 7), drawn([0.01, 2.0], 300, 7)
    learned = np.zeros((2, 300), np.bool_)
    learned[0, :200] = True
    distances = np.where(learned[:, :, np.newaxis], known.distances, guess.distances)
    candidates = replace(guess, distances=distances, learned=learned)
    flattered = fit_weights(replace(candidates, learned=np.zeros_like(learned)))
    assert flattered["a"] > flattered["b"]
    assert fit_weights(candidates)["b"] > 0.95
    assert len(candidates.among("b").queries) == 300


def test_an_engine_that_is_not_judged_gets_no_weight_beside_others() -> None:
    fusion = fit_fusion(drawn([1.0, 1.0], 400, 8), dict.fromkeys("abxy", 1.0))
    assert fusion.of("ax") == {"a": 1.0, "x": 0.0}
    assert fusion.of("abxy").keys() == set("abxy")
    assert (fusion.of("abxy")["x"], sum(fusion.of("xy").values())) == (0.0, 1.0)
