"""search.py: rows become items. Photos are colors here, so every distance is known exactly."""

from __future__ import annotations

import hashlib
import io
import itertools
import random
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import inf, nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.catalog.ingest import ingest
from pipeline.catalog.records import State
from pipeline.config import Config, EmbeddingSettings
from pipeline.errors import (
    DamagedArtifactError,
    NotBuiltError,
    PipelineError,
    QueryError,
    RejectedImage,
    StaleIndexError,
)
from pipeline.index.builds import Build
from pipeline.search import engine_searcher
from pipeline.search.engine_searcher import open_engine
from pipeline.search.neighbor_graph import neighbor_blocks
from pipeline.search.query import Item, Query
from pipeline.search.result import Hit
from pipeline.sources.base import SourceItem, SourcePhoto
from tests.conftest import ENGINE, Color, ColorModel, ListSource, Shop, png

Items = dict[str, list[Color]]
GRID: list[Color] = list(itertools.product(range(4), repeat=3))  # type: ignore[arg-type]


def expected(
    shop: Shop,
    items: Mapping[str, Sequence[Color]],
    near: Sequence[Color],
    k: int,
    leave_out: str | None = None,
) -> list[tuple[float, int]]:
    """(distance, id) of the k items nearest to any of these colors, by brute force over items."""
    xq = np.array(near, np.float64)
    distances = []
    for key, colors in items.items():
        if colors and key != leave_out:
            apart = np.array(colors, np.float64)[:, np.newaxis] - xq
            distances.append((float(np.sqrt((apart**2).sum(axis=2)).min()), shop.id_of(key)))
    return sorted(distances)[:k]


def answers(neighbors: Sequence[Hit]) -> list[tuple[float, int]]:
    assert [n.rank for n in neighbors] == list(range(1, len(neighbors) + 1))
    return [(n.distance, n.item.id) for n in neighbors]


def keys(neighbors: Sequence[Hit]) -> list[str]:
    return [n.item.key for n in neighbors]


def items_of(build: Build, row: int) -> list[int]:
    """The items that show a row's photo."""
    return [item for shown, item in build.ids.tolist() if shown == row]


def vector(color: Color) -> np.ndarray:
    return np.array(color, np.float32)


def random_items(rng: random.Random, count: int, colors: Sequence[Color]) -> Items:
    """Items of no, one or several photos, many of them shared."""
    numbers = [rng.choice([0, 1, 1, 1, 2, 3]) for _ in range(count)]
    return {f"item {n}": rng.sample(colors, photos) for n, photos in enumerate(numbers)}


# -- Against the brute force -----------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_every_query_is_answered_as_by_a_brute_force_over_items(shop: Shop, seed: int) -> None:
    rng = random.Random(seed)
    colors = rng.sample(GRID, (3, 20, 40, 64)[seed])
    items = random_items(rng, 40, colors)
    # First without the last photo of each item: then its row comes after those of later items.
    shop.build({key: photos[:-1] for key, photos in items.items()})
    shop.build(items)
    searcher = shop.searcher()
    for k in (1, 2, 3, 5, 17, 38, 39, 40, 1000):
        for color in (*colors[:2], (1, 1, 1), (9, 0, 0)):
            found = searcher.search(vector(color), k).hits
            assert answers(found) == expected(shop, items, [color], k)
        for key in rng.sample([key for key in items if items[key]], 4):
            found = searcher.search(Item(shop.id_of(key)), k).hits
            assert answers(found) == expected(shop, items, items[key], k, leave_out=key)


def test_ties_at_the_last_place_go_to_the_smallest_id_though_its_row_is_last(shop: Shop) -> None:
    others = {f"item {n}": [(n, 0, 0)] for n in range(1, 5)}
    ring: Items = {f"ring {n}": [(100, 100 + n, 0)] for n in (-9, 9)}
    ring |= {f"ring {n}": [(100 + n, 100, 0)] for n in (-9, 9)}
    ring |= {f"deep {n}": [(100, 100, 9)] for n in range(5)}
    shop.build({"first": [(0, 0, 200)], **others, **ring})
    build = shop.build({"first": [(0, 0, 200), (100, 91, 0)], **others, **ring})
    shop.build({"first": [(0, 0, 200), (100, 100, 9)], **others, **ring})
    late: Items = {"first": [(0, 0, 200), (109, 100, 0), (91, 91, 91)], **others, **ring}
    build = shop.build(late)
    assert items_of(build, build.manifest["rows"] - 1) == [shop.id_of("first")]
    searcher = shop.searcher()
    for k in range(1, 12):
        found = searcher.search(vector((100, 100, 0)), k).hits
        assert answers(found) == expected(shop, late, [(100, 100, 0)], k)


def test_a_late_row_of_an_early_item_is_not_overlooked(shop: Shop) -> None:
    near: list[Color] = list(itertools.product((90, 110), repeat=3))  # type: ignore[misc]
    items: Items = {"first": [(0, 0, 0)], **{f"{c}": [c] for c in near[:7]}}
    shop.build(items)
    items["first"] = [(0, 0, 0), near[7]]
    build = shop.build(items)
    assert items_of(build, 8) == [1]
    assert shop.searcher().search(vector((100, 100, 100)), 1).hits[0].item.id == 1


# -- Rows and items --------------------------------------------------------------------------------


def test_every_item_that_shows_the_photo_is_found(shop: Shop) -> None:
    build = shop.build({"a": [(1, 0, 0)], "b": [(9, 0, 0)], "c": [(1, 0, 0)], "d": [(1, 0, 0)]})
    assert (build.manifest["rows"], build.manifest["items"]) == (2, 4)
    found = shop.searcher().search(vector((0, 0, 0)), 3).hits
    assert [(n.item.key, n.distance) for n in found] == [("a", 1.0), ("c", 1.0), ("d", 1.0)]


def test_an_item_is_as_near_as_its_nearest_photo_and_is_found_once(shop: Shop) -> None:
    shop.build({"a": [(9, 0, 0), (2, 0, 0), (3, 0, 0)], "b": [(4, 0, 0)], "c": []})
    found = shop.searcher().search(vector((0, 0, 0)), 10).hits
    assert [(n.item.key, n.distance) for n in found] == [("a", 2.0), ("b", 4.0)]
    assert found[0].photo is not None
    assert found[0].photo.read_bytes() == png((2, 0, 0))


def test_k_counts_items_though_the_nearest_rows_are_all_of_one(shop: Shop) -> None:
    many: list[Color] = [(n, 0, 0) for n in range(30)]
    shop.build({"many": many, "far": [(200, 0, 0)], "farther": [(201, 0, 0)]})
    found = shop.searcher().search(vector((0, 0, 0)), 3).hits
    assert keys(found) == ["many", "far", "farther"]


def test_an_item_is_not_its_own_neighbor_but_those_that_share_its_photo_are(shop: Shop) -> None:
    shop.build({"a": [(1, 0, 0)], "b": [(1, 0, 0)], "c": [(2, 0, 0)]})
    searcher = shop.searcher()
    for item in (1, np.int64(1)):
        found = searcher.search(Item(item), 5).hits
        assert [(n.item.key, n.distance) for n in found] == [("b", 0.0), ("c", 1.0)]


def test_an_item_of_several_photos_asks_with_all_of_them(shop: Shop) -> None:
    shop.build({"a": [(0, 0, 0), (100, 0, 0)], "b": [(97, 0, 0)], "c": [(1, 0, 0), (50, 0, 0)]})
    found = shop.searcher().search(Item(1), 2).hits
    assert [(n.item.key, n.distance) for n in found] == [("c", 1.0), ("b", 3.0)]


def test_a_lonely_item_has_no_neighbor(shop: Shop) -> None:
    shop.build({"a": [(0, 0, 0), (1, 0, 0)]})
    assert shop.searcher().search(Item(1), 5).hits == ()


# -- Queries by photo ------------------------------------------------------------------------------


def test_a_photo_is_the_same_query_in_any_form(shop: Shop, tmp_path: Path) -> None:
    shop.build({"a": [(5, 0, 0)], "b": [(7, 0, 0)]})
    file = tmp_path / "query.png"
    file.write_bytes(png((8, 0, 0)))
    picture = Image.open(io.BytesIO(file.read_bytes()))
    forms: list[Query] = [file, str(file), file.read_bytes(), picture, vector((8, 0, 0))]
    for query in forms:
        found = shop.searcher().search(query, 2).hits
        assert [(n.item.key, n.distance) for n in found] == [("b", 1.0), ("a", 3.0)]


def test_a_picture_is_flattened_and_turned_like_its_file(shop: Shop) -> None:
    shop.build({"a": [(10, 0, 0)], "b": [(250, 250, 250)]})
    file = io.BytesIO()
    clear = Image.new("RGBA", (4, 4), (10, 0, 0, 0))
    clear.paste((250, 250, 250, 255), (0, 0, 4, 2))
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down, so the model sees the clear half, on white
    clear.save(file, "PNG", exif=exif)
    for query in (file.getvalue(), Image.open(file)):
        found = shop.searcher().search(query, 2).hits
        assert [(n.item.key, n.distance) for n in found] == [
            ("b", np.sqrt(3 * 5**2)),
            ("a", np.sqrt(245**2 + 2 * 255**2)),
        ]


def test_a_photo_of_the_catalog_finds_its_own_item_first(shop: Shop) -> None:
    items: Items = {f"{n}": [(n, 2 * n, 0)] for n in range(20)}
    shop.build(items)
    searcher = shop.searcher()
    for key, (color,) in items.items():
        nearest = searcher.search(png(color), 1).hits[0]
        assert (nearest.item.key, nearest.distance) == (key, 0.0)


# -- What is told of a neighbor -------------------------------------------------------------------


def test_a_neighbor_is_described_as_the_ledger_does(shop: Shop) -> None:
    shop.build({"cap": [(5, 0, 0)]})
    with shop.catalog.transaction():
        images = shop.catalog.images(1)
        shop.catalog.put("cap", "A cap", "Hats", {"price": 2.5}, images)
    (before,) = shop.searcher().search(vector((5, 0, 4)), 3, where="name = 'Cap'").hits
    assert before.item.name == "Cap", "what is not published yet does not answer"
    shop.index()
    (found,) = shop.searcher().search(vector((5, 0, 4)), 3).hits
    path = shop.folder / str(images[0].path)
    cap = shop.catalog.item(1)
    assert cap is not None
    assert (cap.name, cap.metadata) == ("A cap", {"price": 2.5})
    content = png((5, 0, 0))
    assert found == Hit(1, 4.0, None, cap, path, hashlib.sha256(content).hexdigest())
    assert path.read_bytes() == content


def test_an_item_removed_since_it_was_published_is_still_found(shop: Shop) -> None:
    shop.build({"a": [(1, 0, 0)], "b": [(2, 0, 0)]})
    shop.offer({"b": [(2, 0, 0)]})
    found = shop.searcher().search(vector((0, 0, 0)), 5).hits
    assert [(hit.item.key, hit.item.state) for hit in found] == [
        ("a", State.AVAILABLE),
        ("b", State.AVAILABLE),
    ]


def test_nothing_answers_from_another_ledger(shop: Shop) -> None:
    shop.build({"a": [(1, 0, 0)]})
    shop.catalog.close()
    for file in shop.folder.glob("catalog.sqlite*"):
        file.unlink()
    type(shop.catalog)(shop.folder, create=True).close()
    with pytest.raises(NotBuiltError, match="generation 1 is not kept; run `imgsearch build`"):
        shop.searcher()


def test_an_open_search_keeps_answering_from_its_build(shop: Shop) -> None:
    shop.build({"a": [(1, 0, 0)]}, keep=1)
    searcher = shop.searcher()
    shop.build({"a": [(1, 0, 0)], "b": [(2, 0, 0)]}, keep=1)
    assert searcher.build.path.exists(), "a publication that is open is kept"
    assert keys(searcher.search(vector((0, 0, 0)), 5).hits) == ["a"]
    assert searcher.search(Item(1), 5).hits == ()
    searcher.close()
    shop.index(keep=1)
    assert not searcher.build.path.exists()
    assert keys(shop.searcher().search(vector((0, 0, 0)), 5).hits) == ["a", "b"]


# -- Errors ----------------------------------------------------------------------------------------


def test_an_unknown_engine_is_named_with_those_there_are(shop: Shop) -> None:
    with pytest.raises(QueryError, match="unknown engine 'vgg'; the configuration has color"):
        open_engine(shop.config, "vgg")


def test_there_is_nothing_to_open_before_it_is_built(shop: Shop) -> None:
    with pytest.raises(NotBuiltError, match=f"{shop.folder}: nothing is published yet; run"):
        shop.searcher()
    other = Config.model_validate({**shop.config.model_dump(), "name": "other"})
    with pytest.raises(NotBuiltError, match=f"{other.folder}: no catalog here yet; run"):
        open_engine(other, ENGINE)


@pytest.mark.parametrize("k", [0, -1])
def test_k_must_be_positive(shop: Shop, k: int) -> None:
    shop.build({"a": [(1, 0, 0)]})
    with pytest.raises(QueryError, match=f"k is {k};"):
        shop.searcher().search(Item(1), k)


@pytest.mark.parametrize("item", [0, -1, 2, 3, 10**30])
def test_an_item_that_is_not_in_the_index_is_named(shop: Shop, item: int) -> None:
    shop.build({"a": [(1, 0, 0)], "no photo": []})
    with pytest.raises(QueryError, match=f"item {item} is not in the index of {ENGINE}"):
        shop.searcher().search(Item(item))


def test_why_an_item_is_not_in_the_index_is_said(shop: Shop) -> None:
    shop.build({"a": [(1, 0, 0)], "b": [(2, 0, 0)], "no photo": []})
    shop.build({"a": [(1, 0, 0)], "no photo": []})
    shop.offer({"a": [(1, 0, 0)], "no photo": [], "new": [(3, 0, 0)]})
    shop.index()
    for item, why in (
        (2, "removed: no longer in the source"),
        (3, "failed: no photo"),
        (4, "it is available: run `imgsearch build`"),
        (5, "`imgsearch query` shows ids"),
    ):
        with pytest.raises(QueryError) as caught:
            shop.searcher().search(Item(item))
        assert str(caught.value) == f"item {item} is not in the index of {ENGINE}; {why}"


@pytest.mark.parametrize(
    "array",
    [
        np.zeros(2),
        np.zeros(4),
        np.zeros((1, 3)),
        np.array(5.0),
        np.array([0, np.nan, 0]),
        np.array([0, 0, np.inf]),
    ],
)
def test_a_vector_of_another_length_or_not_finite_is_refused(shop: Shop, array: np.ndarray) -> None:
    shop.build({"a": [(1, 0, 0)]})
    with pytest.raises(QueryError, match="a query vector of color is 3 finite numbers"):
        shop.searcher().search(array)


def test_a_photo_that_cannot_be_read_is_named(shop: Shop, tmp_path: Path) -> None:
    shop.build({"a": [(1, 0, 0)]})
    searcher = shop.searcher()
    with pytest.raises(QueryError, match=f"{tmp_path}/no.png: cannot read the photo: No such file"):
        searcher.search(tmp_path / "no.png")
    (tmp_path / "bad.png").write_bytes(b"bad")
    for path in (tmp_path / "bad.png", tmp_path):
        with pytest.raises(RejectedImage, match=f"{path}: not an acceptable photo: not an image"):
            searcher.search(str(path))
    with pytest.raises(RejectedImage, match="not an image"):
        searcher.search(b"bad")


def test_the_configured_limits_hold_for_queries_too(shop: Shop) -> None:
    shop.build({"a": [(1, 0, 0)]})
    shop.config = Config.model_validate({**shop.config.model_dump(), "images": {"min_side": 5}})
    with pytest.raises(RejectedImage, match="too small"):
        shop.searcher().search(png((1, 0, 0)))


# -- Which items -----------------------------------------------------------------------------------


def describe(shop: Shop, items: Items, rng: random.Random) -> dict[str, dict[str, object]]:
    """Build a catalog whose items have columns; return these."""
    columns = {
        key: {
            "size": rng.randrange(5),
            **({"brand": rng.choice("ab")} if rng.random() < 0.8 else {}),
        }
        for key in items
    }
    offers = [
        SourceItem(
            key,
            key,
            "even" if int(key[1:]) % 2 == 0 else "odd",
            tuple(SourcePhoto(f"{key}-{c}.png", data=png(c)) for c in colors),
            columns[key],
        )
        for key, colors in items.items()
    ]
    ingest(ListSource(offers), shop.catalog, shop.limits)
    shop.embed()
    shop.index()
    return columns


@pytest.mark.parametrize("seed", range(6))
def test_wanted_items_are_found_as_by_a_brute_force_over_them(shop: Shop, seed: int) -> None:
    rng = random.Random(seed)
    items = {f"k{n}": colors for n, colors in enumerate(random_items(rng, 40, GRID).values())}
    columns = describe(shop, items, rng)
    with shop.searcher() as searcher:
        for _ in range(40):
            size, k, near = rng.randrange(6), rng.choice([1, 2, 5, 50]), rng.choice(GRID)
            least, most = rng.choice([(0.0, inf), (1.0, inf), (0.0, 2.0), (1.0, 1.5)])
            group_by = rng.choice([None, "brand"])
            chosen = {key: items[key] for key in items if columns[key]["size"] < size}
            everything = expected(shop, chosen, [near], len(items))
            within = [(d, i) for d, i in everything if least <= d <= most]
            by_id = {shop.id_of(key): columns[key].get("brand") for key in items}
            kept, seen = [], set()
            for distance, item in within:
                group = by_id[item] if group_by and by_id[item] else item
                if group not in seen:
                    seen.add(group)
                    kept.append((distance, item))
            found = searcher.search(
                vector(near),
                k,
                where=f"size < {size}",
                min_distance=least,
                max_distance=most,
                group_by=group_by,
            ).hits
            assert answers(found) == kept[:k]


def test_a_row_is_found_for_the_wanted_one_of_the_items_that_share_it(shop: Shop) -> None:
    describe(shop, {"k1": [(1, 0, 0)], "k2": [(1, 0, 0)], "k3": [(9, 0, 0)]}, random.Random(0))
    with shop.searcher() as searcher:
        assert keys(searcher.search(vector((1, 0, 0)), 3, where="category = 'even'").hits) == ["k2"]
        assert keys(searcher.search(vector((1, 0, 0)), 3, group_by="category").hits) == ["k1", "k2"]
        assert searcher.search(vector((1, 0, 0)), 3, where="key = 'k3' and size > 100").hits == ()


@pytest.mark.parametrize(
    ("unwanted", "said"),
    [
        ({"where": "prize < 3"}, "no item has a column 'prize'"),
        ({"group_by": "prize"}, "no item has a column 'prize'"),
        ({"min_distance": 2.0, "max_distance": 1.0}, "distances from 2.0 to 1.0"),
        ({"min_distance": -1.0}, "0 or more"),
        ({"max_distance": nan}, "distances"),
    ],
)
def test_what_cannot_be_wanted_is_refused(shop: Shop, unwanted: dict[str, Any], said: str) -> None:
    shop.build({"a": [(1, 0, 0)]})
    with shop.searcher() as searcher:
        with pytest.raises(QueryError, match=said):
            searcher.search(Item(1), **unwanted)
        with pytest.raises(QueryError, match=said):
            searcher.search_all([Item(1)], **unwanted)


# -- Many queries ----------------------------------------------------------------------------------


def test_many_queries_are_answered_in_turn_as_each_alone(shop: Shop) -> None:
    shop.config = shop.config.model_copy(update={"embedding": EmbeddingSettings(batch_size=3)})
    rng = random.Random(4)
    shop.build(random_items(rng, 30, GRID))
    asked: list[Query] = [*queries(shop), *(vector(rng.choice(GRID)) for _ in range(20))]
    bad: list[Query] = [b"bad", "no such file.png", Item(10**6), vector((1, 0, 0))[:2]]
    mixed = [*asked, *bad]
    rng.shuffle(mixed)
    with shop.searcher() as searcher:
        found = list(searcher.search_all(iter(mixed), 4, max_distance=3.0))
        assert len(found) == len(mixed)
        for query, answer in zip(mixed, found, strict=True):
            if isinstance(answer, PipelineError):
                with pytest.raises(type(answer), match=re.escape(str(answer))):
                    searcher.search(query, 4)
                assert any(query is one for one in bad)
            else:
                assert answer == searcher.search(query, 4, max_distance=3.0)
        assert list(searcher.search_all([], 4)) == []


def test_photos_are_encoded_in_batches_and_read_no_further_than_needed(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.config = shop.config.model_copy(update={"embedding": EmbeddingSettings(batch_size=4)})
    shop.build({"a": [(1, 0, 0)]})
    taken: list[int] = []

    def photos() -> Iterator[bytes]:
        for number in range(10):
            taken.append(number)
            yield png((number, 0, 0))

    with shop.searcher() as searcher:
        answered = searcher.search_all(photos(), 1)
        for _ in range(5):
            next(answered)
        assert len(taken) == 8
        assert len(list(answered)) == 5
        model = searcher.model
        assert isinstance(model, ColorModel)
        assert model.batches == [4, 4, 2]


# -- The model -------------------------------------------------------------------------------------


def queries(shop: Shop) -> list[Query]:
    """A query of every kind."""
    file = shop.folder.parent / "query.png"
    file.write_bytes(png((1, 0, 0)))
    picture = Image.open(io.BytesIO(file.read_bytes()))
    return [
        Item(1),
        Item(np.int64(1)),
        vector((1, 0, 0)),
        file,
        str(file),
        file.read_bytes(),
        picture,
    ]


def change_settings(shop: Shop, **settings: object) -> None:
    """Settings of another model than the one that was built with."""
    engines = {ENGINE: {"type": "pretrained", "weights": "random", **settings}}
    shop.config = Config.model_validate({**shop.config.model_dump(), "engines": engines})


def test_a_photo_is_asked_by_the_model_that_the_build_names(shop: Shop) -> None:
    build = shop.build({"a": [(1, 0, 0)], "b": [(2, 0, 0)]})
    old = shop.model
    new = shop.use_model("other weights")
    assert old.fingerprint != new.fingerprint
    with shop.searcher() as searcher:
        assert searcher.build.path == build.path
        assert searcher.model.fingerprint == old.fingerprint == build.fingerprint
        assert keys(searcher.search(png((1, 0, 0))).hits) == ["a", "b"]
        assert keys(searcher.search(Item(1)).hits) == ["b"]
    shop.embed()
    shop.index()
    with shop.searcher() as searcher:
        assert searcher.model.fingerprint == new.fingerprint


def test_no_model_need_be_in_use(shop: Shop) -> None:
    shop.build({"a": [(1, 0, 0)]})
    (shop.engine.models.folder / "CURRENT").unlink()
    assert keys(shop.searcher().search(png((1, 0, 0))).hits) == ["a"]


def test_what_is_published_answers_though_the_settings_have_changed(shop: Shop) -> None:
    shop.build({"a": [(1, 0, 0)], "b": [(2, 0, 0)]})
    before = shop.model.fingerprint
    expected = [shop.searcher().search(query).hits for query in queries(shop)]
    change_settings(shop, layer="fc2")
    with shop.searcher() as searcher:
        assert [searcher.search(query).hits for query in queries(shop)] == expected
        assert searcher.search(Item(1)).fingerprint == before
        warning = searcher.search(Item(1)).warning or ""
    assert warning.startswith(f"{ENGINE}: publication 1 answers by the model")


def test_the_model_that_the_settings_ask_for_answers_once_it_is_published(shop: Shop) -> None:
    shop.build({"a": [(1, 0, 0)]})
    before = shop.model.fingerprint
    change_settings(shop, seed=8)
    after = shop.use_model("of seed 8").fingerprint
    assert shop.searcher().model.fingerprint == before != after
    shop.embed()
    shop.index()
    with shop.searcher() as searcher:
        assert searcher.model.fingerprint == after
        assert searcher.search(Item(1)).warning is None


def test_a_build_whose_model_was_deleted_is_refused(shop: Shop) -> None:
    shop.build({"a": [(1, 0, 0)]})
    shutil.rmtree(shop.model.path)
    with pytest.raises(StaleIndexError, match="no longer there; run `imgsearch build`"):
        shop.searcher()


def test_equal_weights_of_another_making_share_vectors_and_answer(shop: Shop) -> None:
    """The recipe differs and the vectors do not: nothing is embedded, and nothing refused."""
    shop.build({"a": [(1, 0, 0)], "b": [(2, 0, 0)]})
    first = shop.model
    change_settings(shop, seed=8)
    second = shop.use_model("weights")
    assert (first.path != second.path, first.fingerprint) == (True, second.fingerprint)
    assert shop.embed().embedded == 0
    build = shop.index()
    assert build.manifest["model"] == second.path.name
    assert shop.index().path == build.path
    assert keys(shop.searcher().search(Item(1)).hits) == ["b"]


def test_random_weights_are_a_warning(shop: Shop) -> None:
    shop.build({"a": [(1, 0, 0)]})
    assert shop.searcher().warning is None
    shop.use_model("drawn", random_weights=True)
    shop.embed()
    assert shop.searcher().warning is None, "the index is of the other model yet"
    assert shop.index().manifest["random_weights"] is True
    warning = shop.searcher().warning
    assert warning is not None
    assert warning.startswith(f"{ENGINE}: RANDOM weights")
    assert f"set engines.{ENGINE}.weights to" in warning


# -- Threads ---------------------------------------------------------------------------------------


def test_other_threads_may_ask_too(shop: Shop) -> None:
    items = random_items(random.Random(9), 30, GRID[:20])
    shop.build(items)
    asked = [key for key in items if items[key]]
    expect = [expected(shop, items, items[key], 5, leave_out=key) for key in asked]
    with shop.searcher() as searcher, ThreadPoolExecutor(4) as threads:
        ids = [shop.id_of(key) for key in asked]
        found = list(threads.map(lambda item: searcher.search(Item(item), 5).hits, ids * 10))
        assert [answers(one) for one in found] == expect * 10
        assert {n.item.name for one in found for n in one} <= {key.title() for key in items}
        (nearest,) = threads.submit(searcher.search, png(items[asked[0]][0]), 1).result().hits
        assert nearest.distance == 0


def test_a_searcher_that_is_open_notices_a_change_of_its_index(shop: Shop) -> None:
    build = shop.build({"a": [(10, 0, 0)], "b": [(20, 0, 0)], "c": [(90, 0, 0)]})
    file = build.segments[0].file
    data = file.read_bytes()
    with shop.searcher() as searcher:
        expected = searcher.search(Item(1), 2)
        file.write_bytes(data[:-2] + bytes([data[-2] ^ 64, data[-1]]))
        with pytest.raises(DamagedArtifactError, match=f"{file}: damaged: "):
            searcher.search(Item(1), 2)
        with pytest.raises(DamagedArtifactError, match=f"{file}: damaged: "):
            list(neighbor_blocks(searcher, 1))
        file.write_bytes(data)
        assert searcher.search(Item(1), 2) == expected
        shutil.rmtree(build.path)
        shutil.rmtree(file.parent)
        assert searcher.search(Item(1), 2) == expected


@pytest.mark.parametrize("instant", ["read_calibration", "open_build"])
def test_a_publication_is_kept_while_it_is_opened(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, instant: str
) -> None:
    first = shop.build({"a": [(10, 0, 0)], "b": [(20, 0, 0)]}, keep=1)
    opening = getattr(engine_searcher, instant)

    def publish_meanwhile(build: Build, **options: bool) -> object:
        if build.path == first.path:
            shop.build({"a": [(10, 0, 0)], "c": [(90, 0, 0)]}, keep=1)
        return opening(build, **options)

    monkeypatch.setattr(engine_searcher, instant, publish_meanwhile)
    with shop.searcher() as searcher:
        assert searcher.build.path == first.path
        assert [hit.item.key for hit in searcher.search(Item(1)).hits] == ["b"]
    with shop.searcher() as searcher:
        assert [hit.item.key for hit in searcher.search(Item(1)).hits] == ["c"]


def test_a_build_that_is_damaged_is_not_opened_again_and_again(shop: Shop) -> None:
    build = shop.build({"a": [(10, 0, 0)]})
    (build.path / "calibration.json").unlink()
    with pytest.raises(DamagedArtifactError, match=r"calibration.json: damaged: it is missing"):
        shop.searcher()
