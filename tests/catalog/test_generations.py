"""generations.py: what a sealed generation had is compared with a copy made when it was sealed."""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.catalog.catalog import Catalog, ImageRecord, State
from pipeline.catalog.columns import Groups
from pipeline.catalog.conditions import Condition
from pipeline.errors import NotBuiltError
from tests.conftest import offer_only

Row = dict[str, Any]
Offers = Mapping[str, tuple[str, str, list[str]]]
"""Key → name, category and the photos of an item."""
LOOKED_AT = ("mtime_ns", "status", "attempts", "tried_at", "seconds", "ctime_ns")
CONTENT = [field.name for field in fields(ImageRecord) if field.name not in LOOKED_AT]


def image(name: str) -> ImageRecord:
    if name == "missing":
        return ImageRecord(name, State.FAILED, "missing")
    return ImageRecord(name, State.AVAILABLE, path=f"/{name}", size=1, sha256=name.encode() * 32)


def ingest(catalog: Catalog, offers: Offers) -> None:
    with catalog.transaction():
        for key, (name, category, photos) in offers.items():
            catalog.put(key, name, category, {"name": name}, [*map(image, photos)])
    offer_only(catalog, *offers)


@dataclass
class Copy:
    """All rows of a ledger in plain Python, and what they answer."""

    items: dict[int, Row]
    images: list[Row]

    @classmethod
    def of(cls, catalog: Catalog) -> Copy:
        with closing(sqlite3.connect(catalog.file)) as database:
            database.row_factory = sqlite3.Row
            items = [dict(row) for row in database.execute("SELECT * FROM items")]
            images = [dict(row) for row in database.execute("SELECT * FROM images ORDER BY id")]
        return cls({row["id"]: row for row in items}, images)

    def available(self) -> list[Row]:
        return [row for row in self.images if row["state"] == "available"]

    def ids(self, column: str, value: str) -> list[int]:
        rows = self.items.values()
        return sorted(r["id"] for r in rows if r["state"] == "available" and r[column] == value)

    def path(self, sha256: bytes, item: int) -> Path | None:
        rows = [row for row in self.images if row["sha256"] == sha256]
        rows.sort(key=lambda row: (row["state"] != "available", row["item"] != item, row["id"]))
        return Path(rows[0]["path"]) if rows else None

    def first(self, item: int) -> Path | None:
        rows = [row for row in self.available() if row["item"] == item]
        return Path(min(rows, key=lambda row: row["position"])["path"]) if rows else None


def of_item(copy: Copy, item: int) -> tuple[Row | None, list[Row]]:
    row = copy.items.get(item)
    images = [row for row in copy.images if row["item"] == item]
    images.sort(key=lambda row: row["position"])
    columns = ("id", "key", "name", "category", "metadata", "state", "reason")
    return row and {name: row[name] for name in columns}, [
        {name: row[name] for name in CONTENT} for row in images
    ]


def check_item(then: Catalog, copy: Copy, item: int) -> None:
    row, images = of_item(copy, item)
    record = then.item(item)
    assert (record and {**vars(record), "metadata": json.dumps(record.metadata)}) == row
    assert then.item_by_key(row["key"] if row else "other") == record
    assert [{name: getattr(i, name) for name in CONTENT} for i in then.images(item)] == images
    assert then.item_photo(item) == copy.first(item)
    for name in ("p", "q", "r"):
        sha256 = image(name).sha256
        assert sha256
        assert then.photo_path(sha256, item) == copy.path(sha256, item)


def check(then: Catalog, copy: Copy) -> None:
    """Compare what a generation answers with what its copy does."""
    for item in range(1, 8):
        check_item(then, copy, item)
    pairs = [(row["sha256"], row["item"]) for row in copy.available()]
    assert list(then.photo_item_pairs()) == pairs
    photos = {row["sha256"]: row["id"] for row in reversed(copy.available())}
    assert [(p.id, p.sha256) for p in then.photos()] == sorted((i, s) for s, i in photos.items())
    assert then.photo_count() == len(photos)
    assert {p.name for p, _ in then.files()} == {r["path"][1:] for r in copy.available()}
    states = [row["state"] for row in copy.items.values()]
    assert {state: sum(n.values()) for state, n in then.counts().items()} == {
        state: states.count(state) for state in states
    }
    for name in ("A", "B"):
        for column in ("name", "category") if "available" in states else ():
            condition = Condition(then, f"{column} = '{name}'")
            assert condition.items.tolist() == copy.ids(column, name)
    grouped = Groups(then, "category")([1, 2, 3])
    values = {i: copy.items[i]["category"] for i in (1, 2, 3) if i in copy.items}
    assert grouped == [("value", values[i]) if values.get(i) else ("item", i) for i in (1, 2, 3)]


def changed(before: Copy, after: Copy) -> set[int]:
    ids = {*before.items, *after.items}
    return {item for item in ids if of_item(before, item) != of_item(after, item)}


NAMES = st.sampled_from(["A", "B"])
PHOTOS = st.lists(st.sampled_from(["p", "q", "r", "missing"]), max_size=2, unique=True)
OFFERS = st.dictionaries(st.sampled_from("abcd"), st.tuples(NAMES, NAMES, PHOTOS), max_size=4)
STEPS = st.one_of(
    OFFERS,
    OFFERS,
    st.just("seal"),
    st.just("seal"),
    st.just("fail"),
    st.just("look"),
    st.just("drop"),
)


def write(catalog: Catalog, step: Any) -> None:
    """Change the ledger, or what is known of its files only."""
    if isinstance(step, dict):
        ingest(catalog, step)
    elif step == "fail" and (photo := next(catalog.photos(), None)):
        catalog.fail_photo(photo, "unreadable")
    elif step == "look":
        catalog.change("UPDATE images SET mtime_ns = 7, attempts = attempts + 1", {})


@settings(max_examples=20, deadline=None, derandomize=True)
@example([{"a": ("A", "A", ["p", "q"])}, "seal", {"a": ("A", "A", ["p"])}, "seal"])
@example([{"a": ("A", "B", ["p"])}, "seal", "fail", "seal", {"b": ("A", "B", ["p"])}, "seal"])
@example([*({"a": (name, "B", [])} for name in "AB"), "seal", {"a": ("A", "A", ["q"])}, "seal"])
@example(
    [
        {"a": ("A", "A", ["p"])},
        *(step for name in "BABA" for step in ("seal", {"a": (name, "A", ["p"])})),
        "seal",
        "drop",
    ]
)
@given(st.lists(STEPS, min_size=3, max_size=14))
def test_a_generation_answers_as_the_ledger_did_when_it_was_sealed(steps: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        catalog = stack.enter_context(Catalog(folder, create=True))
        catalog.change("PRAGMA synchronous = OFF", {})
        copies: dict[int, Copy] = {0: Copy({}, [])}
        readers: dict[int, Catalog] = {}
        for step in steps:
            write(catalog, step)
            if step == "seal":
                copy, last = Copy.of(catalog), max(copies)
                is_new = bool(changed(copies[last], copy)) or last == 0
                assert catalog.seal_generation() == last + is_new
                copies[last + is_new] = copy
                reader = Catalog(folder, generation=last + is_new, page_size=2)
                readers.setdefault(last + is_new, stack.enter_context(reader))
            elif step == "drop" and readers:
                kept = [generation for generation in readers if generation % 2]
                catalog.drop_generations(kept)
                assert catalog.sealed_generations() == sorted({*kept, max(readers)})
                readers = {g: r for g, r in readers.items() if g in {*kept, max(readers)}}
                copies = {g: copy for g, copy in copies.items() if g in {0, *readers}}
        compare(catalog, folder, copies, readers)


def compare(
    catalog: Catalog, folder: Path, copies: Mapping[int, Copy], readers: Mapping[int, Catalog]
) -> None:
    now = Copy.of(catalog)
    for generation, reader in readers.items():
        check(reader, copies[generation])
        with Catalog(folder, generation=generation) as then:
            check(then, copies[generation])
            assert then.generation == generation
        for earlier, copy in copies.items():
            if earlier < generation:
                compare_changes(catalog, earlier, copy, generation, copies[generation])
    for earlier, copy in copies.items():
        ids = catalog.changed_items(earlier).tolist()
        assert ids == sorted(set(ids))
        assert changed(copy, now) <= set(ids) <= set(now.items)


def compare_changes(catalog: Catalog, earlier: int, before: Copy, later: int, after: Copy) -> None:
    counts = catalog.generation_changes(earlier, later)
    was, is_now = (
        {row["id"] for row in copy.items.values() if row["state"] == "available"}
        for copy in (before, after)
    )
    assert counts["added"] == len(is_now - was)
    assert counts["removed"] == len(was - is_now)
    differing = len(changed(before, after) & was & is_now)
    if later == earlier + 1:
        assert counts["changed"] == differing
    assert differing <= counts["changed"] <= len(was & is_now)


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog(tmp_path, create=True) as made:
        ingest(made, {"a": ("A", "A", ["p"]), "b": ("B", "B", ["q"])})
        yield made


def test_what_has_not_changed_is_not_sealed_again(catalog: Catalog) -> None:
    assert catalog.generation == 1
    assert [catalog.seal_generation(), catalog.seal_generation()] == [1, 1]
    assert catalog.generation == 2
    offers: Offers = {"a": ("A", "A", ["p"]), "b": ("B", "B", ["q"])}
    for _ in range(2):  # there and back again: nothing has changed
        ingest(catalog, {"a": ("other", "A", ["p"])})
        ingest(catalog, offers)
    assert catalog.seal_generation() == 1
    assert catalog.changed_items(1).tolist() == []
    assert catalog.changed_items(0).tolist() == [1, 2]


def test_only_the_changed_are_kept_twice(catalog: Catalog) -> None:
    catalog.seal_generation()
    ingest(catalog, {"a": ("A", "A", ["p"]), "b": ("new", "B", ["q"])})
    ingest(catalog, {"a": ("A", "A", ["p"]), "b": ("newer", "B", ["q"])})
    history = "SELECT name FROM items_history UNION ALL SELECT uri FROM images_history"
    assert [row[0] for row in catalog.select(history)] == ["B"]
    assert catalog.changed_items(1).tolist() == [2]
    catalog.seal_generation()
    catalog.drop_generations([])
    assert [*catalog.select(history)] == []


def test_a_generation_that_is_not_kept_cannot_be_opened(catalog: Catalog) -> None:
    catalog.seal_generation()
    for generation in (0, 2):
        with pytest.raises(NotBuiltError, match=f"generation {generation} is not kept"):
            Catalog(catalog.folder, generation=generation)


def test_a_generation_cannot_be_written(catalog: Catalog) -> None:
    with Catalog(catalog.folder, generation=catalog.seal_generation()) as then:
        with pytest.raises(sqlite3.OperationalError):
            ingest(then, {})
        with pytest.raises(sqlite3.OperationalError):
            then.set_meta("version", "1")


def test_lookups_use_indexes(catalog: Catalog) -> None:
    queries = (
        "SELECT name FROM items WHERE id = 1",
        "SELECT name FROM items WHERE key = 'a'",
        "SELECT id FROM items WHERE id IN (SELECT value FROM json_each('[1]')) ORDER BY id",
        "SELECT uri FROM images WHERE item = 1 ORDER BY position",
        "SELECT path FROM images WHERE sha256 = x'00' AND path IS NOT NULL ORDER BY id LIMIT 1",
    )
    with Catalog(catalog.folder, generation=catalog.seal_generation()) as then:
        for query in queries:
            plan = [row["detail"] for row in then.select(f"EXPLAIN QUERY PLAN {query}")]
            assert not [step for step in plan if step.startswith("SCAN main.")], query
