"""gate.py: what must not answer is found before it does."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import pytest

from pipeline import models
from pipeline.catalog.ingest import ingest
from pipeline.errors import GateError
from pipeline.evaluation import gate
from pipeline.evaluation.gate import judge, sample_rows
from pipeline.index.base import Ids, Neighbors
from pipeline.publish import publish
from pipeline.publish.publication import Publication
from pipeline.publish.store import PublicationStore
from pipeline.publish.switching import force
from pipeline.search import engine_searcher
from pipeline.sources.base import SourceItem, SourcePhoto
from pipeline.workspace import Workspace
from tests.conftest import ENGINE, ColorModel, ListSource, Shop, png

Labeled = Mapping[str, tuple[int, str]]
"""Key → a shade of red, and a category."""


def build(shop: Shop, items: Labeled) -> Publication:
    """All stages; raises a GateError where the gate refuses what was built."""
    offer(shop, items)
    shop.embed()
    shop.index()
    published = PublicationStore(shop.config).current()
    assert published is not None
    return published


def offer(shop: Shop, items: Labeled) -> None:
    offers = [
        SourceItem(key, key, label, (SourcePhoto(f"{key}.png", data=png((shade, 0, 0))),))
        for key, (shade, label) in items.items()
    ]
    ingest(ListSource(offers), shop.catalog, shop.limits, accept_removals=True)


def halves(count: int, swapped: int = 0) -> dict[str, tuple[int, str]]:
    """Dark items of one category and bright ones of another; some are labeled wrongly."""
    step = 250 // count
    return {
        f"k{n}": (
            step * n,
            "ab"[(n >= count // 2) ^ (n % (count // max(swapped, 1)) == 3 and swapped > 0)],
        )
        for n in range(count)
    }


def current(shop: Shop) -> int | None:
    return PublicationStore(shop.config).current_number()


def test_what_is_right_passes_and_says_what_was_checked(shop: Shop) -> None:
    published = build(shop, {f"k{n}": (4 * n, "") for n in range(60)})
    assert published.checks == {ENGINE: {"photos": 50, "found": 50, "shown": 50, "precision": None}}
    assert published.faults == ()


def test_rows_that_are_searched_for_are_spread_and_end_with_the_newest() -> None:
    assert sample_rows(3).tolist() == [0, 1, 2]
    rows = sample_rows(1_000_000)
    assert (len(rows), rows[0], rows[-1]) == (50, 0, 999_999)
    assert np.ptp(np.diff(rows)) <= 1


def test_an_index_that_does_not_find_its_photos_is_refused(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(shop, {"a": (0, ""), "b": (100, "")})
    opening = engine_searcher.open_build

    def broken(build_: engine_searcher.Build, **exact: bool) -> object:
        index = opening(build_, **exact)
        search = index.search

        def reversed_(queries: np.ndarray, k: int, allowed: Ids | None = None) -> Neighbors:
            found = search(queries, index.rows, allowed)
            nearest = (found.distances[:, ::-1][:, :k], found.rows[:, ::-1][:, :k])
            return Neighbors(*nearest, found.verified)

        monkeypatch.setattr(index, "search", reversed_)
        return index

    monkeypatch.setattr(engine_searcher, "open_build", broken)
    with pytest.raises(GateError, match=f"{ENGINE}: 3 of 3 photos do not find themselves first"):
        build(shop, {"a": (0, ""), "b": (100, ""), "c": (200, "")})
    assert current(shop) == 1
    assert force(shop.config).number == current(shop) == 2


def test_a_new_model_that_sees_photos_otherwise_than_it_embedded_them_is_refused(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = {"a": (0, ""), "b": (100, ""), "c": (200, "")}
    build(shop, items)

    class Changed(ColorModel):
        def encode(self, pixels: np.ndarray) -> np.ndarray:
            return super().encode(pixels)[:, ::-1] + np.float32(1)

    monkeypatch.setattr(models, "load", lambda name, folder, **_: Changed(name))
    build(shop, {**items, "d": (50, "")})  # by the same model, whose photos were looked at
    shop.use_model("retrained")
    with pytest.raises(GateError, match="4 of 4 photos do not find themselves first"):
        build(shop, {**items, "d": (50, "")})
    assert current(shop) == 2


def test_copies_at_no_distance_are_no_fault_where_searches_collapse(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    class AllAlike:
        def first_like(self, _: bytes, others: list[bytes]) -> int | None:
            return 0 if others else None

    def duplicates(_: object, collapse: bool | None = None) -> AllAlike | None:
        return None if collapse is False else AllAlike()

    monkeypatch.setattr(engine_searcher.EngineSearcher, "duplicates", duplicates)
    photos = [png((90, 0, 0), (side, side)) for side in (20, 24)]
    offers = [
        SourceItem(f"{n}", "", "", (SourcePhoto(f"{n}.png", data=data),))
        for n, data in enumerate(photos)
    ]
    ingest(ListSource(offers), shop.catalog, shop.limits)
    shop.embed()
    shop.index()
    assert current(shop) == 1


def test_photos_that_are_gone_are_no_fault_of_an_index(shop: Shop) -> None:
    offer(shop, {"a": (0, ""), "b": (100, "")})
    shop.embed()
    for path in (shop.folder / "images").glob("*/*.png"):
        path.unlink()
    shop.index()
    assert current(shop) == 1


def test_photos_are_compared_with_each_other_and_with_what_does_not_answer_yet(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "sample_rows", lambda _rows: np.array([0, 20]))
    compared: list[Ids | None] = []
    opening = engine_searcher.open_build

    def noting(build_: engine_searcher.Build, **exact: bool) -> object:
        index = opening(build_, **exact)
        search = index.search

        def noting_search(queries: np.ndarray, k: int, allowed: Ids | None = None) -> Neighbors:
            compared.append(allowed)
            return search(queries, k, allowed)

        monkeypatch.setattr(index, "search", noting_search)
        return index

    monkeypatch.setattr(engine_searcher, "open_build", noting)
    items = {f"k{n}": (4 * n, "") for n in range(40)}
    build(shop, items)
    assert compared[0] is None
    compared.clear()
    # Of 40 rows one is gone; two are new, in a segment of their own.
    build(shop, items | {"k1": (250, ""), "k40": (252, "")})
    (rows,) = compared
    assert rows is not None
    assert rows.tolist() == [0, 20, 39, 40]


def test_an_index_of_other_items_than_the_ledger_has_is_refused(shop: Shop) -> None:
    build(shop, {"a": (0, ""), "b": (100, "")})
    offer(shop, {"a": (0, "")})
    with pytest.raises(GateError, match="1 of 2 photos are not those of their items in the catal"):
        publish.publish(Workspace(shop.config, shop.catalog), partial(judge, shop.config))


@pytest.mark.parametrize(
    ("before", "after", "is_refused"),
    [(250, 199, True), (250, 200, False), (60, 11, False), (60, 10, True), (200, 250, False)],
)
def test_many_photos_are_not_lost_by_chance(
    shop: Shop, before: int, after: int, is_refused: bool
) -> None:
    build(shop, {f"k{n}": (n, "") for n in range(before)})
    fewer = {f"k{n}": (n, "") for n in range(after)}
    if not is_refused:
        assert build(shop, fewer).number == 2
        return
    with pytest.raises(GateError, match=f"{ENGINE} has {after} photos, and had {before}"):
        build(shop, fewer)
    accepting = partial(judge, shop.config, accept_losses=True)
    assert publish.publish(Workspace(shop.config, shop.catalog), accepting).answering == 2


def test_a_model_that_finds_fewer_of_a_category_is_refused(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = halves(80)
    first = build(shop, items).checks[ENGINE]["precision"]
    assert (first["k"], first["queries"], first["unmeasured"]) == (10, 80, 0)
    assert 0.85 < first["low"] < first["mean"] < 1

    rng = np.random.default_rng(3)
    shuffled = rng.permutation(256).astype(np.float32)
    monkeypatch.setattr(
        ColorModel, "encode", lambda self, pixels: shuffled[pixels[:, 0, 0, :]].copy()
    )
    shop.use_model("worse")
    with pytest.raises(GateError, match=r"P@10 by category is 0\.\d+, and was 0\.9\d+ \(at least"):
        build(shop, items)
    assert current(shop) == 1


def test_what_was_measured_stands_until_enough_has_changed(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "MEASURED_SHARE", 0.05)  # 4 of 80
    items = halves(80)
    build(shop, items)
    unmeasured: list[int] = []
    for change in range(5):
        items[f"k{change}"] = (items[f"k{change}"][0] + 1, "a")
        unmeasured.append(build(shop, items).checks[ENGINE]["precision"]["unmeasured"])
    assert unmeasured == [1, 2, 3, 0, 1]
