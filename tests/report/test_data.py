"""What is gathered for a report, against what search, evaluate and scikit-learn say."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.manifold import trustworthiness
from sklearn.metrics import ndcg_score

from pipeline.catalog.catalog import Catalog, State
from pipeline.catalog.labels import values_of
from pipeline.engine import Engine
from pipeline.errors import NotBuiltError, QueryError
from pipeline.evaluation.evaluate import EvaluationOptions, evaluate
from pipeline.evaluation.pixels import Preprocessing
from pipeline.images.silence import silence
from pipeline.index.calibration import Calibration
from pipeline.report.data import ReportData, report_data
from pipeline.report.maps import arrange, draw_maps
from pipeline.search.engine_searcher import EngineSearcher
from pipeline.search.query import Item
from tests.conftest import Color, png
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


def queries(data: ReportData) -> dict[str, list[int]]:
    """Reason → the items that are searched with."""
    shown: dict[str, list[int]] = {}
    for example in data.example_queries:
        shown.setdefault(example.reason, []).append(example.item)
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
    shown = queries(report_data(fair.config, QUICK))
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


def test_an_example_query_shows_what_search_answers_and_what_of_it_is_right(
    open_fair: Opener,
) -> None:
    items = toys()
    items["twin"] = Thing(items["toy 00"].colors, "a")  # shows the photo of another item
    fair = open_fair("color", "mixed")
    fair.build(items)
    twins = {fair.id_of("twin"), fair.id_of("toy 00")}
    for example in report_data(fair.config, QUICK).example_queries:
        own = fair.catalog.item(example.item)
        assert own is not None
        assert (example.name, example.label) == (own.name, own.category)
        assert example.photo in fair_photos(fair)
        for engine, answers in example.hits.items():
            with fair.searcher(engine) as searcher:
                found = list(searcher.search(Item(example.item), 8).hits)
            if example.item in twins:
                found = [hit for hit in found if hit.item.id not in twins]
            assert [one.hit for one in answers] == found[:6]
            for one in answers:
                assert one.is_right == (one.hit.item.category == own.category)


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
    assert found.not_measured is not None
    assert "no available item of fair has a category" in found.not_measured
    shown = queries(found)
    assert list(shown) == [
        *("Typical", "Nearest to another", "Furthest from all others", "Most disputed")
    ]
    assert {key_of(fair, item) for item in shown["Nearest to another"]} == {"toy 40", "toy 41"}
    assert all(
        one.is_right is None
        for example in found.example_queries
        for hits in example.hits.values()
        for one in hits
    )
    (alone,) = (
        fair.config.model_copy(update={"engines": {"color": e}})
        for e in [fair.config.engines["color"]]
    )
    assert "Most disputed" not in queries(report_data(alone, QUICK))


def test_the_picture_of_a_query_is_that_of_its_first_available_image(open_fair: Opener) -> None:
    fair = open_fair("color")
    pairs = [colors(seed, 2) for seed in range(8)]
    fair.build({f"toy {n}": Thing(pair, "a") for n, pair in enumerate(pairs)})
    assert any(png(first) > png(second) for first, second in pairs)
    fair.catalog.fail_photo(next(fair.catalog.photos()), "gone")  # the first of the first item
    fair.publish()
    examples = report_data(fair.config, QUICK).example_queries
    assert examples
    for example in examples:
        images = fair.catalog.images(example.item)
        first = next(image for image in images if image.state is State.AVAILABLE)
        assert first.path is not None
        assert example.photo == fair.config.folder / first.path


def test_every_engine_is_opened_once(open_fair: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    init = EngineSearcher.__init__

    def count(searcher: EngineSearcher, engine: Engine, catalog: Catalog) -> None:
        opened.append(engine.name)
        init(searcher, engine, catalog)

    fair = open_fair("color", "mixed")
    fair.build(toys(count=12))
    monkeypatch.setattr(EngineSearcher, "__init__", count)
    assert report_data(fair.config, QUICK).evaluation is not None
    assert sorted(opened) == ["color", "mixed"]


def test_limits_are_those_by_which_queries_are_judged(open_fair: Opener) -> None:
    fair = open_fair("color")
    rng = random.Random(5)
    shades = [(rng.randrange(40), 0, 0) for _ in range(70)]
    many = {f"m {n}": Thing([c], "many") for n, c in enumerate(dict.fromkeys(shades * 9))}
    narrow = {f"n {n}": Thing([(n, 100 + n % 3, n % 7)], "many") for n in range(60)}
    few = {f"f {n}": Thing([(255 - 9 * n, 9 * n, 255)], "few") for n in range(20)}
    fair.build({**many, **narrow, **few})
    (engine,) = report_data(fair.config, QUICK).engines
    assert engine.limit is not None
    assert list(engine.category_limits) == ["many"]
    assert engine.category_limits["many"] < engine.limit
    with fair.searcher("color") as searcher:
        for category, limit in (("many", engine.category_limits["many"]), ("few", engine.limit)):
            at, beyond = limit, np.nextafter(limit, np.inf)
            percentiles = [searcher.calibration.percentile(d, category) for d in (at, beyond)]
            hits = searcher.search(Item(1), 1).hits
            judged = [searcher.is_no_match([replace(hits[0], percentile=p)]) for p in percentiles]
            assert judged == [False, True]


@pytest.mark.parametrize("percentile", [0, 1, 50, 90, 99, 99.5, 100])
@pytest.mark.parametrize("count", [1, 2, 30, 100, 1000])
def test_more_than_the_percentile_is_nearer_beyond_the_limit_only(
    count: int, percentile: float
) -> None:
    distances = np.arange(1.0, count + 1)
    limit = Calibration({"": distances}).limit(percentile)
    beyond = [
        d for d in np.arange(0.5, count + 2, 0.5) if 100 * (distances < d).mean() > percentile
    ]
    assert (limit is None) == (not beyond)
    if limit is not None:
        assert limit == min(beyond) - 0.5
    assert Calibration({"": distances[:0]}).limit(percentile) is None


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
        assert engine.limit == pytest.approx(nearest[29])  # 99 % of 30 and less are nearer
        assert (engine.dim, engine.photos, engine.items, engine.training) == (3, 30, 30, None)


def test_what_cannot_be_gathered_is_one_error(open_fair: Opener) -> None:
    fair = open_fair("color")
    fair.offer(toys(count=4))
    with pytest.raises(NotBuiltError, match="nothing is published yet"):
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
def test_the_smallest_catalogs_have_a_report(open_fair: Opener, items: dict[str, Thing]) -> None:
    fair = open_fair("color", "blind")  # all vectors of the second are the same
    fair.build(items)
    found = report_data(fair.config, QUICK)
    assert found.evaluation is None
    assert found.not_measured is not None
    assert found.not_measured.startswith("nothing to find")
    distinct = len({thing.colors[0] for thing in items.values()})
    assert len(found.maps.photos) == distinct
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


def test_short_vectors_are_arranged_after_photos_were_decoded() -> None:
    with silence():  # its filter of warnings stays, and scikit-learn copies it
        pass
    vectors = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    assert arrange(vectors, seed=7).shape == (40, 2)


def test_few_points_lie_on_their_first_two_components() -> None:
    corners = np.float32([[0, 0, 5], [10, 0, 5], [10, 10, 5], [0, 10, 5], [0, 10, 5]])
    placed = arrange(corners, seed=7)
    apart = np.linalg.norm(placed[:, np.newaxis] - placed, axis=2)
    real = np.linalg.norm(corners[:, np.newaxis] - corners, axis=2)
    assert apart / apart.max() == pytest.approx(real / real.max(), abs=1e-6)


def test_maps_show_photos_that_all_engines_have_and_a_sample_of_many(open_fair: Opener) -> None:
    items = toys(count=30)
    fair = open_fair("color", "mixed")
    fair.build(items)
    fair.offer({**items, "new": Thing([(1, 1, 1)], "a")})
    fair.index("mixed")  # the other engine has not got the new item
    whole = report_data(fair.config, QUICK).maps
    assert whole.common == len(whole.photos) == 30
    assert {photo.record.name for photo in whole.photos if photo.record} == {
        key.title() for key in items
    }
    categories = [photo.record.category for photo in whole.photos if photo.record]
    assert whole.labels == categories
    with fair.searcher("color") as color, fair.searcher("mixed") as mixed:
        labels = values_of(fair.catalog, "category")
        part = draw_maps([color, mixed], labels, QUICK.seed, max_photos=12)
        again = draw_maps([color, mixed], labels, QUICK.seed, max_photos=12)
    assert (part.common, len(part.photos)) == (30, 12)
    assert again.photos == part.photos
    assert {photo.item for photo in part.photos} < {photo.item for photo in whole.photos}
    with Catalog(fair.config.folder) as catalog:
        known = {path for path, _ in catalog.files()}
    assert {photo.photo.path for photo in part.photos} < known
