"""Metrics, intervals, agreement, rankings and recall, against definitions and scikit-learn."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import average_precision_score, ndcg_score

from pipeline.evaluation import cost
from pipeline.evaluation.agreement import overlap, rank_biased_overlap
from pipeline.evaluation.exact_ranker import ExactRanker
from pipeline.evaluation.intervals import bootstrap
from pipeline.evaluation.metrics import METRICS, RankedLists, score
from pipeline.evaluation.retriever import VectorSet
from pipeline.index.base import Neighbors

Lists = list[list[bool]]


def padded(lists: Lists) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """Lists of any lengths as `score` takes them."""
    relevant = np.zeros((len(lists), max(map(len, lists))), np.bool_)
    for own, one in zip(relevant, lists, strict=True):
        own[: len(one)] = one
    return relevant, np.array([len(one) for one in lists])


def plain(one: Sequence[bool]) -> dict[str, float]:
    """Every metric by its definition, for one list."""
    count = sum(one)
    gains = [1 / math.log2(rank + 1) for rank in range(1, len(one) + 1)]
    return {
        **{f"P@{k}": sum(one[:k]) / len(one[:k]) for k in (1, 3, 10)},
        "mAP": sum(sum(one[: at + 1]) / (at + 1) for at in range(len(one)) if one[at]) / count,
        "nDCG@10": sum(g for g, hit in zip(gains[:10], one[:10], strict=True) if hit)
        / sum(gains[: min(count, 10)]),
        "MRR": 1 / (one.index(True) + 1),
    }


# -- Metrics ---------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=40).filter(any), min_size=1))
def test_metrics_are_what_their_definitions_say(lists: Lists) -> None:
    scores = score(*padded(lists))
    assert scores.shape == (len(lists), len(METRICS))
    for found, one in zip(scores, lists, strict=True):
        assert dict(zip(METRICS, found.tolist(), strict=True)) == pytest.approx(plain(one))


@pytest.mark.parametrize("seed", range(5))
def test_ap_and_ndcg_are_scikit_learns(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(11, 300))
    relevant = rng.random((30, n)) < rng.uniform(0.02, 0.9)
    relevant[:, rng.integers(n)] = True
    falling = -np.arange(n)
    scores = score(relevant, np.full(30, n))
    for found, one in zip(scores, relevant, strict=True):
        named = dict(zip(METRICS, found.tolist(), strict=True))
        assert named["mAP"] == pytest.approx(average_precision_score(one, falling), abs=1e-12)
        oracle = ndcg_score(one[np.newaxis].astype(int), falling[np.newaxis], k=10)
        assert named["nDCG@10"] == pytest.approx(oracle, abs=1e-12)


def test_best_and_worst_lists() -> None:
    best, worst = [True] * 12 + [False] * 12, [False] * 12 + [True] * 12
    first, last = score(*padded([best, worst]))
    assert first.tolist() == [1.0] * 6
    assert last[:3].tolist() == [0, 0, 0]
    assert last[4] == 0
    assert last[5] == 1 / 13


def test_a_new_metric_is_one_function_and_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def recall(lists: RankedLists) -> npt.NDArray[np.float64]:
        return lists.relevant[:, :5].sum(axis=1) / lists.counts

    monkeypatch.setitem(METRICS, "R@5", recall)
    scores = score(*padded([[True, False] * 5, [False] * 6 + [True]]))
    assert list(METRICS)[-1] == "R@5"
    assert scores[:, -1].tolist() == [3 / 5, 0]
    assert scores.shape == (2, 7)


# -- Intervals -------------------------------------------------------------------------------------


def test_intervals_are_those_of_scipys_percentile_bootstrap() -> None:
    values = np.random.default_rng(1).random((80, 2)) ** 2
    for column, found in enumerate(bootstrap(values, 6000, seed=1)):
        oracle = stats.bootstrap(
            (values[:, column],),
            np.mean,
            n_resamples=6000,
            method="percentile",
            rng=np.random.default_rng(2),
        ).confidence_interval
        assert found.mean == pytest.approx(values[:, column].mean())
        assert (found.low, found.high) == pytest.approx(tuple(oracle), abs=4e-3)


def test_intervals_hold_the_true_mean_nineteen_times_in_twenty() -> None:
    rng = np.random.default_rng(3)
    trials = 300
    found = [bootstrap((rng.random((60, 1)) < 0.3) * 1.0, 1000, seed=t)[0] for t in range(trials)]
    held = sum(one.low <= 0.3 <= one.high for one in found) / trials
    assert 0.9 <= held <= 0.98


def test_intervals_depend_on_the_seed_and_not_on_the_size_of_blocks() -> None:
    values = np.random.default_rng(4).random((30, 3))
    whole = bootstrap(values, 1000, seed=5)
    assert whole == bootstrap(values, 1000, seed=5)
    assert whole != bootstrap(values, 1000, seed=6)
    blocks = bootstrap(values, 1000, seed=5, drawn_queries=100)
    for one, other in zip(whole, blocks, strict=True):
        assert vars(one) == pytest.approx(vars(other), abs=1e-12)


def test_the_interval_of_one_query_is_its_value() -> None:
    (found,) = bootstrap(np.array([[0.25]]), 1000, seed=0)
    assert (found.mean, found.low, found.high) == (0.25, 0.25, 0.25)


# -- Agreement -------------------------------------------------------------------------------------


def by_equation_32(one: Sequence[int], other: Sequence[int], p: float) -> float:
    """RBO_ext as Webber et al. print it, from sets."""
    short, long = sorted((one, other), key=len)
    s, depth = len(short), len(long)
    x = [len(set(short[:d]) & set(long[:d])) for d in range(depth + 1)]
    first = sum(x[d] / d * p**d for d in range(1, depth + 1))
    second = sum(x[s] * (d - s) / (s * d) * p**d for d in range(s + 1, depth + 1))
    return (1 - p) / p * (first + second) + ((x[depth] - x[s]) / depth + x[s] / s) * p**depth


rankings = st.permutations(range(12)).flatmap(
    lambda order_: st.integers(1, 12).map(lambda length: order_[:length])
)


@settings(max_examples=200, deadline=None)
@given(rankings, rankings, st.sampled_from([0.5, 0.9, 0.98]))
def test_rank_biased_overlap_is_equation_32(one: list[int], other: list[int], p: float) -> None:
    found = rank_biased_overlap(one, other, p)
    assert found == pytest.approx(by_equation_32(one, other, p), abs=1e-12)
    assert found == pytest.approx(rank_biased_overlap(other, one, p), abs=1e-12)
    assert -1e-12 <= found <= 1 + 1e-12


@settings(max_examples=50, deadline=None)
@given(st.permutations(range(10)))
def test_rank_biased_overlap_goes_on_as_the_lists_end(other: list[int]) -> None:
    one, p = list(range(8)), 0.9
    other = other[:8]
    agreement = [len({*one[:d]} & {*other[:d]}) / d for d in range(1, 9)]
    agreement += [agreement[-1]] * 600
    total = (1 - p) * sum(a * p**d for d, a in enumerate(agreement))
    assert rank_biased_overlap(one, other, p) == pytest.approx(total, abs=1e-9)


def test_agreement_of_equal_disjoint_and_empty_lists() -> None:
    assert rank_biased_overlap([1, 2, 3], [1, 2, 3]) == pytest.approx(1)
    assert rank_biased_overlap([1, 2], [3, 4]) == 0
    assert rank_biased_overlap([], []) == 1
    assert rank_biased_overlap([], [1]) == 0
    assert overlap([1, 2, 3, 4], [3, 2, 9, 1], 3) == pytest.approx(2 / 3)
    assert overlap([1, 2], [2, 1], 10) == 1
    assert overlap([1], [1, 2], 10) == 0.5
    assert overlap([], [], 5) == 1
    assert overlap([], [1], 5) == 0


# -- Whole rankings --------------------------------------------------------------------------------


def vector_set(vectors: npt.NDArray[np.float32], owners: Sequence[Sequence[int]]) -> VectorSet:
    """Items, each with the rows of its photos."""
    pairs = sorted({(owner, row) for owner, rows in enumerate(owners) for row in rows})
    return VectorSet(vectors.__getitem__, np.array(pairs, np.int64))


def by_brute_force(
    vectors: npt.NDArray[np.float32], owners: Sequence[Sequence[int]], query: int
) -> list[int]:
    """Items by (distance, item), from differences in float64 as search computes them."""
    exact = vectors.astype(np.float64)

    def distance(a: int, b: int) -> float:
        difference = exact[a : a + 1] - exact[b]
        return float(np.sqrt(np.einsum("ij,ij->i", difference, difference))[0])

    nearest = [min(distance(x, q) for x in rows for q in owners[query]) for rows in owners]
    return sorted(range(len(owners)), key=lambda item: (nearest[item], item))


GALLERIES = {
    "random": lambda rng: rng.standard_normal((40, 16)),
    "tied": lambda rng: rng.integers(0, 3, (40, 3)),
    "few distinct": lambda rng: rng.standard_normal((3, 8))[rng.integers(0, 3, 40)],
    "one": lambda rng: np.full((40, 5), 0.1),
    "zeros": lambda rng: np.zeros((40, 4)),
    "far away": lambda rng: 1e4 + rng.integers(0, 3, (40, 6)) / 64,
    "mirrored": lambda rng: np.array([rng.permutation([0.1, 0.2, 0.3, 0.7]) for _ in range(40)]),
    "one far out": lambda rng: np.vstack([rng.integers(0, 2, (39, 3)), [[1e9, 0, 0]]]),
}


@pytest.mark.parametrize("kind", GALLERIES)
@pytest.mark.parametrize("rows", [7, 2048])
def test_rankings_are_those_of_brute_force(kind: str, rows: int) -> None:
    rng = np.random.default_rng(len(kind))
    vectors = GALLERIES[kind](rng).astype(np.float32)
    for owners in (
        [[row] for row in range(40)],
        [rng.choice(40, rng.integers(1, 4), replace=False).tolist() for _ in range(30)],
    ):
        items = vector_set(vectors, owners)
        ranker = ExactRanker(items, items, row_block=rows)
        for first, last in ((0, 1), (1, len(owners))):
            excluded = [np.array([query]) for query in range(first, last)]
            for query, found in enumerate(ranker.rank(first, last, excluded), first):
                expected = by_brute_force(vectors, owners, query)
                expected.remove(query)
                assert found.tolist() == [*expected, query]


def test_what_is_excluded_comes_last() -> None:
    vectors = np.arange(10, dtype=np.float32)[:, np.newaxis]
    items = vector_set(vectors, [[row] for row in range(10)])
    (found,) = ExactRanker(items, items).rank(4, 5, [np.array([3, 4, 5])])
    assert found[:7].tolist() == [2, 6, 1, 7, 0, 8, 9]
    assert set(found[7:].tolist()) == {3, 4, 5}


# -- Recall ----------------------------------------------------------------------------------------


class Lossy:
    """Brute force that never finds some rows."""

    def __init__(self, vectors: npt.NDArray[np.float32], lost: Sequence[int]) -> None:
        self.rows, self.dim = vectors.shape
        self._vectors, self._lost = vectors, lost

    def vectors(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        return self._vectors[rows]

    def search(self, queries: npt.NDArray[np.float32], k: int, allowed: object = None) -> Neighbors:
        apart = np.linalg.norm(self._vectors - queries[:, np.newaxis].astype(np.float64), axis=2)
        apart[:, list(self._lost)] = np.inf
        rows = np.argsort(apart, axis=1)[:, :k]
        return Neighbors(
            np.take_along_axis(apart, rows, axis=1), rows, np.full(len(queries), self.rows)
        )


def test_recall_is_the_share_of_the_nearest_that_is_found() -> None:
    line = np.arange(50, dtype=np.float32)[:, np.newaxis]
    queries = line[20:30]
    assert cost.recall(Lossy(line, []), queries, 10, row_block=7) == 1
    # Of eleven rows, the last two equally near, any ten will do.
    assert cost.recall(Lossy(line, [19]), line[24:25], 10) == 1
    assert cost.recall(Lossy(line, [24, 25]), queries[4:6], 10, row_block=7) == pytest.approx(0.9)
    assert cost.recall(Lossy(line, [24, 25, 26]), line[24:25], 10) == pytest.approx(0.8)
    assert cost.recall(Lossy(line[:4], []), line[:4], 10) == 1
