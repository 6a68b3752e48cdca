"""calibration.py: what photos of a catalog find when they are queries, as if they were new."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from pipeline.artifacts import publish, read_manifest
from pipeline.catalog.ingest import ingest
from pipeline.config import SearchSettings
from pipeline.embeddings.flat_file import write_flat
from pipeline.errors import DamagedArtifactError
from pipeline.index.builds import CALIBRATION_FILE, Build, RowItems
from pipeline.index.calibration import (
    Calibration,
    calibrate,
    choose_queries,
    read_calibration,
)
from pipeline.index.flat import FlatIndex
from pipeline.index.photo_search import PhotoSearch
from pipeline.sources.base import SourceItem, SourcePhoto
from tests.conftest import Color, ListSource, Shop, png

NOISE = (250, 250, 250)


def hashes(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 32), np.uint8)


def chosen(photos: np.ndarray, trained_on: np.ndarray, **limits: int) -> list[int]:
    return choose_queries(photos, trained_on, **limits).tolist()


def test_photos_that_were_trained_on_are_no_queries() -> None:
    photos = hashes(10)
    assert chosen(photos, photos[[1, 4, 7]], min_held_out=3) == [0, 2, 3, 5, 6, 8, 9]
    assert chosen(photos, hashes(5, seed=1), min_held_out=3) == list(range(10))


def test_all_are_queries_if_too_few_are_held_out() -> None:
    photos = hashes(10)
    assert chosen(photos, photos[:8], min_held_out=3) == list(range(10))
    assert chosen(photos, photos[:7], min_held_out=3) == [7, 8, 9]
    assert chosen(photos[:0], photos) == []


def test_the_sample_is_of_the_lowest_hashes() -> None:
    photos = hashes(100)
    photos[::2, :8] = photos[7, :8]  # many begin alike
    lowest = sorted(range(100), key=lambda row: photos[row].tobytes())[:40]
    assert chosen(photos, photos[:0], max_queries=40) == sorted(lowest)


def offer(shop: Shop, items: dict[str, list[Color]], categories: dict[str, str]) -> None:
    offers = [
        SourceItem(
            key,
            key,
            categories.get(key, ""),
            tuple(SourcePhoto(f"{key}-{c}.png", data=png(c)) for c in colors),
        )
        for key, colors in items.items()
    ]
    ingest(ListSource(offers), shop.catalog, shop.limits)
    shop.embed()
    shop.index()


@pytest.mark.parametrize("seed", range(4))
def test_each_photo_finds_the_nearest_of_another_item(shop: Shop, seed: int) -> None:
    rng = random.Random(seed)
    colors = [(r, g, b) for r in range(0, 90, 10) for g in (0, 7) for b in (0, 1)]
    items = {f"k{n}": rng.sample(colors, rng.choice([1, 1, 2, 4])) for n in range(25)}
    categories = {key: rng.choice(["hats", "caps"]) for key in items}
    offer(shop, items, categories)

    shown: dict[Color, list[str]] = {}
    for key, photos in items.items():
        for color in photos:
            shown.setdefault(color, []).append(key)
    expected: dict[str, list[float]] = {}
    for color, keys in shown.items():
        others = [other for other in shown if not set(keys) & set(shown[other])]
        if others:
            apart = np.linalg.norm(np.array(others, float) - np.array(color, float), axis=1)
            first = min(keys, key=shop.id_of)
            expected.setdefault(categories[first], []).append(float(apart.min()))
    sorted_distances = {name: sorted(values) for name, values in expected.items()}

    def as_lists(calibration: Calibration) -> dict[str, list[float]]:
        return {name: values.tolist() for name, values in calibration.by_category.items()}

    with shop.searcher() as searcher:
        assert as_lists(searcher.calibration) == sorted_distances
        build = searcher.build
        rows = np.arange(len(build.photos))
        first_items = build.ids[np.unique(build.ids[:, 0], return_index=True)[1], 1].tolist()
        records = [shop.catalog.item(item) for item in first_items]
        filed = [record.category for record in records if record]
        search = PhotoSearch(searcher.index, build.row_items, query_block=5, first_neighbors=2)
        blocks = calibrate(search, build.photos, rows, filed)
    assert as_lists(Calibration.of(blocks)) == sorted_distances


def test_a_percentile_is_the_share_of_nearer_ones() -> None:
    known = Calibration({"a": np.array([1.0, 2.0, 2.0, 3.0])})
    shares = [known.percentile(distance, "a") for distance in (0.5, 1.0, 1.5, 2.0, 3.0, 9.0)]
    assert shares == [0, 0, 25, 25, 75, 100]


def test_a_category_is_judged_by_its_own_if_there_are_enough() -> None:
    near, far = np.linspace(0, 1, 50), np.linspace(100, 101, 49)
    known = Calibration({"near": near, "far": far})
    assert known.percentile(50, "near") == 100
    assert known.percentile(50, "far") == known.percentile(50, "other") == 100 * 50 / 99


@pytest.mark.parametrize("percentile", [0, 33.3, 50, 98, 99, 100])
def test_a_limit_is_where_the_percentile_begins_to_be_above(percentile: float) -> None:
    rng = np.random.default_rng(3)
    sizes = {"many": 230, "enough": 50, "few": 49, "one": 1}
    calibration = Calibration({name: np.sort(rng.random(n)) for name, n in sizes.items()})
    for category in (*sizes, "never seen"):
        limit = calibration.limit(percentile, category)
        own = category in ("many", "enough")
        assert own or limit == calibration.limit(percentile)
        for distance in (*calibration.distances, *(calibration.distances + 1e-9), -1.0, 9.0):
            found = calibration.percentile(distance, category)
            assert found is not None
            assert (found > percentile) == (limit is not None and distance > limit)
    assert calibration.category_limits(percentile) == {
        name: calibration.limit(percentile, name) for name in ("many", "enough")
    }
    assert (calibration.limit(100), Calibration({}).limit(99)) == (None, None)


def test_nothing_is_known_where_there_was_no_other_item(shop: Shop) -> None:
    assert Calibration({}).percentile(1.0, "") is None
    shop.build({"a": [(1, 0, 0), (2, 0, 0)]})
    with shop.searcher() as searcher:
        (found,) = searcher.search(np.array([9, 9, 9], np.float32), 1).hits
        assert found.percentile is None
        assert not searcher.is_no_match([found])
        assert not searcher.is_no_match([])


def test_what_is_unlike_all_photos_has_no_good_match(shop: Shop) -> None:
    rng = random.Random(5)
    photos = {f"k{n}": [tuple(rng.choices(range(60), k=3))] for n in range(300)}
    shop.build(photos)  # type: ignore[arg-type]
    flagged = 0
    with shop.searcher() as searcher:
        for _ in range(300):  # more of the same: about 1 % is further away than 99 %
            near = np.array(rng.choices(range(60), k=3), np.float32)
            flagged += searcher.is_no_match(searcher.search(near, 1).hits)
        assert flagged <= 12
        alien = searcher.search(png(NOISE), 2).hits
        assert searcher.is_no_match(alien)
        assert alien[0].percentile == 100
    never = SearchSettings(no_match_percentile=100)
    shop.config = shop.config.model_copy(update={"search": never})
    with shop.searcher() as searcher:
        assert not searcher.is_no_match(alien)


def test_another_category_is_another_build(shop: Shop) -> None:
    items: dict[str, list[Color]] = {"a": [(1, 0, 0)], "b": [(5, 0, 0)]}
    offer(shop, items, {"a": "hats"})
    before = shop.engine.builds.current()
    offer(shop, items, {"a": "hats"})
    same = shop.engine.builds.current()
    offer(shop, items, {"a": "caps"})
    after = shop.engine.builds.current()
    assert before is not None
    assert after is not None
    assert before == same
    assert before.path != after.path
    assert set(read_calibration(after).by_category) == {"caps", ""}


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"queries": 5}', '{"queries": [["a", "b", "x", "c"]]}', '{"queries": [[1]]}'],
)
def test_a_damaged_file_is_said(tmp_path: Path, text: str) -> None:
    with publish(tmp_path / "a1", {}) as aside:
        (aside / CALIBRATION_FILE).write_text(text)
    with pytest.raises(DamagedArtifactError, match=CALIBRATION_FILE):
        read_calibration(Build(tmp_path / "a1", read_manifest(tmp_path / "a1")))


def test_many_queries_at_once_find_what_each_finds_alone(tmp_path: Path) -> None:
    """So many that FAISS multiplies matrices for them."""
    rng = np.random.default_rng(6)
    xb = (rng.random((400, 8)) @ rng.random((8, 1024))).astype(np.float32)
    xb[200:300] = xb[:100] + 1e-6 * rng.random((100, 1024), np.float32)
    write_flat(tmp_path / "index.faiss", *xb.shape, [(np.arange(len(xb)), xb)])
    items = RowItems(len(xb), np.column_stack([np.arange(len(xb)), np.arange(len(xb)) % 350]))
    index = FlatIndex(tmp_path / "index.faiss")
    rows = np.arange(0, 400, 3)
    alone = PhotoSearch(index, items, query_block=1).nearest(rows)
    assert PhotoSearch(index, items).nearest(rows) == alone
    for row, (_, neighbor) in alone.items():
        distances = np.linalg.norm(xb.astype(np.float64) - xb[row], axis=1)
        distances[items.ids[:, 1] == items.ids[row, 1]] = np.inf
        assert neighbor == np.argmin(distances)
    assert list(alone) == rows.tolist()
