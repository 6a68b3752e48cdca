"""What is gathered for a report, against what search, evaluate and scikit-learn say."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from sklearn.manifold import trustworthiness
from sklearn.metrics import ndcg_score

from pipeline.catalog.catalog import Catalog
from pipeline.errors import NotBuiltError, QueryError
from pipeline.evaluation.evaluate import EvaluationOptions, evaluate
from pipeline.evaluation.pixels import Preprocessing
from pipeline.report import maps
from pipeline.report.data import ReportData, report_data
from pipeline.report.maps import arrange
from pipeline.search.query import Item
from tests.conftest import Color
from tests.engines import VIEWS, Fair, Opener, Thing, open_fair

__all__ = ["open_fair"]

QUICK = EvaluationOptions(cost=False, pca_preprocessing=Preprocessing((8, 8), "bilinear"))


def colors(seed: int, count: int) -> list[Color]:
    rng = random.Random(seed)
    return [(rng.randrange(256), rng.randrange(256), rng.randrange(256)) for _ in range(count)]


def toys(seed: int = 1, count: int = 40, labels: str = "abc") -> dict[str, Thing]:
    rng = random.Random(seed)
    category = {False: lambda: "", True: lambda: rng.choice(labels)}[bool(labels)]
    return {
        f"toy {n:02}": Thing([color], category()) for n, color in enumerate(colors(seed, count))
    }


def sheets(found: ReportData) -> dict[str, list[int]]:
    """Why → the items that ask."""
    shown: dict[str, list[int]] = {}
    for sheet in found.sheets:
        shown.setdefault(sheet.why, []).append(sheet.item)
    return shown


def ndcg(toys: dict[str, Thing], engine: str) -> dict[str, float]:
    """nDCG@10 of each item as a query, by scikit-learn."""
    keys = list(toys)
    vectors = VIEWS[engine](np.float32([toys[key].colors[0] for key in keys])).astype(np.float64)
    scores = {}
    for at, key in enumerate(keys):
        others = [n for n in range(len(keys)) if n != at]
        right = [toys[keys[n]].category == toys[key].category for n in others]
        if any(right):
            near = -np.linalg.norm(vectors[others] - vectors[at], axis=1)
            scores[key] = float(ndcg_score([np.array(right, int)], [near], k=10))
    return scores


# -- Which queries ---------------------------------------------------------------------------------


def test_the_queries_shown_are_those_that_their_scores_single_out(open_fair: Opener) -> None:
    items = toys()
    fair = open_fair("color", "mixed")
    fair.build(items)
    shown = sheets(report_data(fair.config, QUICK))
    color, mixed = ndcg(items, "color"), ndcg(items, "mixed")
    mean = {key: (color[key] + mixed[key]) / 2 for key in color}
    lead = {key: color[key] - mixed[key] for key in color}
    keys = {why: [key_of(fair, item) for item in own] for why, own in shown.items()}
    assert list(keys) == [
        *("Typical", "Best", "Worst"),
        *("color ahead of all others", "mixed ahead of all others"),
    ]
    taken: set[str] = set()
    middle = float(np.median(list(mean.values())))

    def first(values: dict[str, float]) -> float:
        """The lowest value of an item that is not shown already."""
        return min(value for key, value in values.items() if key not in taken)

    for why, values in {
        "Typical": {key: abs(value - middle) for key, value in mean.items()},
        "Best": {key: -value for key, value in mean.items()},
        "Worst": mean,
        "color ahead of all others": {key: -value for key, value in lead.items()},
        "mixed ahead of all others": lead,
    }.items():
        assert values[keys[why][0]] == pytest.approx(first(values), abs=1e-9)
        assert len(keys[why]) == 2
        assert not taken & set(keys[why])
        assert items[keys[why][0]].category != items[keys[why][1]].category
        taken.update(keys[why])


def key_of(fair: Fair, item: int) -> str:
    record = fair.catalog.item(item)
    assert record is not None
    return record.key


def test_a_sheet_shows_what_search_answers_and_what_of_it_is_right(open_fair: Opener) -> None:
    items = toys()
    items["twin"] = Thing(items["toy 00"].colors, "a")  # shows the photo of another item
    fair = open_fair("color", "mixed")
    fair.build(items)
    twins = {fair.id_of("twin"), fair.id_of("toy 00")}
    for sheet in report_data(fair.config, QUICK).sheets:
        own = fair.catalog.item(sheet.item)
        assert own is not None
        assert (sheet.name, sheet.label) == (own.name, own.category)
        assert sheet.photo in fair_photos(fair)
        for engine, answers in sheet.lists.items():
            with fair.searcher(engine) as searcher:
                found = searcher.search(Item(sheet.item), 8).hits
            if sheet.item in twins:
                found = [one for one in found if one.item.id not in twins]
            assert [one.neighbor for one in answers] == list(found[:6])
            for one in answers:
                assert one.right == (one.neighbor.item.category == own.category)


def fair_photos(fair: Fair) -> set[Path]:
    return {path for path, _ in fair.catalog.files()}


def test_without_labels_queries_are_chosen_by_distances_and_disagreement(
    open_fair: Opener,
) -> None:
    items = toys(labels="")
    items["toy 40"] = Thing([(255, 255, 254)])
    items["toy 41"] = Thing([(255, 255, 255)])
    fair = open_fair("color", "red")
    fair.build(items)
    found = report_data(fair.config, QUICK)
    assert found.evaluation is None
    assert found.unmeasured is not None
    assert "no available item of fair has a category" in found.unmeasured
    shown = sheets(found)
    assert list(shown) == [
        *("Typical", "Nearest to another", "Furthest from all others", "Most disputed")
    ]
    assert {key_of(fair, item) for item in shown["Nearest to another"]} == {"toy 40", "toy 41"}
    assert all(one.right is None for s in found.sheets for own in s.lists.values() for one in own)
    (alone,) = (
        fair.config.model_copy(update={"engines": {"color": e}})
        for e in [fair.config.engines["color"]]
    )
    assert "Most disputed" not in sheets(report_data(alone, QUICK))


# -- What else -------------------------------------------------------------------------------------


def test_engines_and_counts_are_told_as_they_are_stored(open_fair: Opener) -> None:
    fair = open_fair("color", "mixed")
    fair.build(toys(count=30))
    found = report_data(fair.config, QUICK)
    assert found.states == {"available": {"": 30}}
    assert (found.catalog, found.photos, found.label) == ("fair", 30, "category")
    assert found.evaluation == evaluate(fair.config, QUICK)
    for engine in found.engines:
        with fair.searcher(engine.name) as searcher:
            nearest = sorted(searcher.search(Item(i), 1).hits[0].distance for i in range(1, 31))
            assert engine.fingerprint == searcher.build.fingerprint
            assert engine.build == searcher.build.path.name
        assert engine.distances.tolist() == pytest.approx(nearest)
        assert engine.limit == pytest.approx(np.percentile(nearest, 99))
        assert (engine.dim, engine.photos, engine.items, engine.training) == (3, 30, 30, None)


def test_what_cannot_be_gathered_is_one_error(open_fair: Opener) -> None:
    fair = open_fair("color")
    fair.offer(toys(count=4))
    with pytest.raises(NotBuiltError, match="no index here yet"):
        report_data(fair.config, QUICK)
    fair.index("color")
    with pytest.raises(QueryError, match="color_of_shoe"):
        report_data(fair.config, EvaluationOptions(label="color_of_shoe", cost=False))
    with pytest.raises(QueryError, match="unknown engine"):
        report_data(fair.config, EvaluationOptions(engines=("other",), cost=False))


@pytest.mark.parametrize(
    "items",
    [
        {"only": Thing([(1, 2, 3)], "a")},
        {"one": Thing([(1, 2, 3)], "a"), "two": Thing([(3, 2, 1)], "b")},
        {f"same {n}": Thing([(9, 9, 9)], "a") for n in range(12)},
        {f"no two {n}": Thing([(n, n, n)], f"{n}") for n in range(12)},
    ],
    ids=["one item", "two items", "one photo", "no label twice"],
)
def test_the_smallest_catalogs_have_an_overview(open_fair: Opener, items: dict[str, Thing]) -> None:
    fair = open_fair("color", "blind")  # all vectors of the second are the same
    fair.build(items)
    found = report_data(fair.config, QUICK)
    assert found.evaluation is None
    assert found.unmeasured is not None
    assert found.unmeasured.startswith("nothing to find")
    distinct = len({thing.colors[0] for thing in items.values()})
    assert len(found.maps.points) == distinct
    for positions in found.maps.positions.values():
        assert positions.shape == (distinct, 2)
        assert np.isfinite(positions).all()


def test_constant_vectors_are_measured_all_the_same(open_fair: Opener) -> None:
    fair = open_fair("blind")
    fair.build(toys(count=20))
    found = report_data(fair.config, QUICK)
    assert found.evaluation is not None
    assert np.isfinite([e.mean for e in found.evaluation.systems[0].scores.values()]).all()
    assert found.maps.positions["blind"].tolist() == [[0.5, 0.5]] * 20


# -- Maps ------------------------------------------------------------------------------------------


def test_what_is_near_in_space_is_near_on_the_map() -> None:
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(6, 40)) * 5
    vectors = (centers.repeat(30, axis=0) + rng.normal(size=(180, 40))).astype(np.float32)
    placed = arrange(vectors, seed=7)
    assert placed.shape == (180, 2)
    assert (placed.min(), placed.max()) == pytest.approx((0, 1))
    assert trustworthiness(vectors, placed, n_neighbors=10) > 0.8
    apart = np.linalg.norm(placed[:, np.newaxis] - placed, axis=2)
    np.fill_diagonal(apart, np.inf)
    assert (apart.argmin(axis=1) // 30 == np.arange(180) // 30).all()
    assert (arrange(vectors, seed=7) == placed).all()
    assert np.isfinite(arrange(vectors * np.float32(1e-12), seed=7)).all()
    assert np.isfinite(arrange(vectors * np.float32(1e12), seed=7)).all()


def test_few_points_lie_on_their_first_two_components() -> None:
    corners = np.float32([[0, 0, 5], [10, 0, 5], [10, 10, 5], [0, 10, 5], [0, 10, 5]])
    placed = arrange(corners, seed=7)
    apart = np.linalg.norm(placed[:, np.newaxis] - placed, axis=2)
    real = np.linalg.norm(corners[:, np.newaxis] - corners, axis=2)
    assert apart / apart.max() == pytest.approx(real / real.max(), abs=1e-6)


def test_maps_show_photos_that_all_engines_have_and_a_sample_of_many(
    open_fair: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = toys(count=30)
    fair = open_fair("color", "mixed")
    fair.build(items)
    fair.offer({**items, "new": Thing([(1, 1, 1)], "a")})
    fair.index("mixed")  # the other engine has not got the new item
    whole = report_data(fair.config, QUICK).maps
    assert whole.photos == len(whole.points) == 30
    assert {point.record.name for point in whole.points if point.record} == {
        key.title() for key in items
    }
    categories = [point.record.category for point in whole.points if point.record]
    assert whole.labels == categories
    monkeypatch.setattr(maps, "_MOST", 12)
    part = report_data(fair.config, QUICK).maps
    assert (part.photos, len(part.points)) == (30, 12)
    assert report_data(fair.config, QUICK).maps.points == part.points
    assert {point.item for point in part.points} < {point.item for point in whole.points}
    with Catalog(fair.config.folder) as catalog:
        known = {path for path, _ in catalog.files()}
    assert {point.photo.path for point in part.points} < known
