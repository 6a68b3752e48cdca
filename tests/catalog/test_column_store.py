"""Columns that are kept beside a publication, against what plain Python finds in the items."""

from __future__ import annotations

import random
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.catalog.catalog import Catalog, ImageRecord, State
from pipeline.catalog.column_store import ColumnStore, carry_columns
from pipeline.catalog.column_values import TRUE, ColumnValues
from pipeline.catalog.columns import Groups
from pipeline.catalog.conditions import Condition
from pipeline.catalog.joined_texts import JoinedTexts
from pipeline.catalog.like import pattern_parts
from pipeline.errors import QueryError

PHOTO = ImageRecord("p", State.AVAILABLE, path="p", sha256=b"p")
Items = dict[int, dict[str, Any]]
"""Id → the metadata of each available item."""

CONDITIONS: list[tuple[str, Callable[[dict[str, Any]], bool]]] = [
    ("price < 50", lambda m: "price" in m and m["price"] < 50),
    ("price >= 20.5 and color in ('red', 'new 3')",
     lambda m: m.get("price", 0) >= 20.5 and m.get("color") in ("red", "new 3")),
    ("color like 'n%' or price is null",
     lambda m: m.get("color", "").startswith("n") or "price" not in m),
    ("not (color = 'red') and not price = 7",
     lambda m: m.get("color", "red") != "red" and m.get("price", 7) != 7),
    ("deep.level <> 'x'", lambda m: m.get("deep", {}).get("level", "x") != "x"),
]  # fmt: skip


def metadata(rng: random.Random, run: int) -> dict[str, Any]:
    values: dict[str, Any] = {"color": rng.choice(["red", "blue", f"new {run}"])}
    values["deep"] = {"level": rng.choice(["x", "y"])}
    if rng.random() < 0.8:
        values["price"] = rng.choice([7, 20.5, run + 0.25, rng.randrange(100)])
    return values


def write_generation(catalog: Catalog, rng: random.Random, run: int) -> tuple[int, Items]:
    """Add items, change some, let some be without a photo; seal, and say what is available."""
    count = 1200 if run == 0 else 3
    with catalog.transaction():
        last = next(catalog.select("SELECT COALESCE(MAX(id), 0) FROM items"))[0]
        some = [*range(last + 1, last + count + 1), *(rng.randint(1, max(last, 1)) for _ in "abc")]
        for item in some:
            photos = [PHOTO] if rng.random() < 0.9 else []
            catalog.put(f"k{item}", "Item", "", metadata(rng, run), photos)
        generation = catalog.seal_generation()
    ids = [row[0] for row in catalog.select("SELECT id FROM items WHERE state = 'available'")]
    return generation, {item: dict(catalog.item(item).metadata) for item in ids}  # type: ignore[union-attr]


def opened(folder: Path, generation: int, kept: Path) -> Catalog:
    catalog = Catalog(folder, any_thread=True, generation=generation)
    catalog.keep_columns(kept, min_items=1)
    return catalog


def check(catalog: Catalog, items: Items) -> None:
    for where, holds in CONDITIONS:
        expected = sorted(item for item, values in items.items() if holds(values))
        assert Condition(catalog, where).items.tolist() == expected, where
    colors = Groups(catalog, "color")(sorted(items))
    assert colors == [("value", values["color"]) for _, values in sorted(items.items())]


@pytest.fixture
def states(tmp_path: Path) -> list[tuple[int, Items]]:
    """Generations of one ledger, each with what it has; the next changes little of the last."""
    rng = random.Random(1)
    with Catalog(tmp_path / "shop", create=True) as catalog:
        return [write_generation(catalog, rng, run) for run in range(4)]


def test_each_generation_answers_by_the_columns_of_the_one_before(
    tmp_path: Path, states: list[tuple[int, Items]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [tmp_path / str(generation) for generation, _ in states]
    for folder in folders:
        folder.mkdir()
    (first, items), *others = states
    with opened(tmp_path / "shop", first, folders[0] / "columns") as catalog:
        check(catalog, items)
    monkeypatch.setattr(ColumnStore, "_read_all", None)  # from now on only changes are read
    for (generation, items), before, folder in zip(others, folders[:-1], folders[1:], strict=True):
        carry_columns(before / "columns", folder / "columns")
        with opened(tmp_path / "shop", generation, folder / "columns") as catalog:
            check(catalog, items)
            with pytest.raises(QueryError, match=r"there are id, key, name, category, color, deep"):
                Condition(catalog, "weight = 1")


def test_columns_of_a_later_generation_or_with_many_changes_are_read_anew(
    tmp_path: Path, states: list[tuple[int, Items]]
) -> None:
    (first, items), *_, (last, later) = states
    with opened(tmp_path / "shop", last, tmp_path / "columns") as catalog:
        check(catalog, later)
    with opened(tmp_path / "shop", first, tmp_path / "columns") as catalog:
        check(catalog, items)
    with Catalog(tmp_path / "shop", create=True) as catalog, catalog.transaction():
        for item in range(1, 101):
            catalog.put(f"k{item}", "Item", "", {"color": "all"}, [PHOTO])
        sealed = catalog.seal_generation()
    changed = {item: {"color": "all"} for item in range(1, 101)}
    with opened(tmp_path / "shop", sealed, tmp_path / "columns") as catalog:
        check(catalog, {item: m for item, m in later.items() if item > 100} | changed)


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: b"", lambda data: b"x" * 99]
)
def test_a_damaged_column_is_made_anew(
    tmp_path: Path, states: list[tuple[int, Items]], damage: Callable[[bytes], bytes]
) -> None:
    generation, items = states[-1]
    with opened(tmp_path / "shop", generation, tmp_path / "columns") as catalog:
        check(catalog, items)
    files = {file: file.read_bytes() for file in (tmp_path / "columns").iterdir()}
    for file, data in files.items():
        file.write_bytes(damage(data))
    with opened(tmp_path / "shop", generation, tmp_path / "columns") as catalog:
        check(catalog, items)
    assert {file: file.read_bytes() for file in (tmp_path / "columns").iterdir()} == files


def test_where_nothing_can_be_kept_conditions_are_answered(
    tmp_path: Path, states: list[tuple[int, Items]]
) -> None:
    generation, items = states[-1]
    (tmp_path / "file").touch()
    with opened(tmp_path / "shop", generation, tmp_path / "file" / "columns") as catalog:
        check(catalog, items)


def test_what_was_kept_is_read_anew_when_it_is_prepared_and_not_by_a_query(
    tmp_path: Path, states: list[tuple[int, Items]], monkeypatch: pytest.MonkeyPatch
) -> None:
    (first, before), (last, items) = states[0], states[-1]
    with opened(tmp_path / "shop", first, tmp_path / "one") as catalog:
        check(catalog, before)
    carry_columns(tmp_path / "one", tmp_path / "two")
    monkeypatch.setattr("pipeline.catalog.column_store.MAX_CHANGED", 0)
    with opened(tmp_path / "shop", last, tmp_path / "two") as catalog:
        catalog.columns.prepare()
    monkeypatch.setattr(ColumnStore, "_read_all", lambda *_: pytest.fail("a query read a column"))
    with opened(tmp_path / "shop", last, tmp_path / "two") as catalog:
        check(catalog, items)


def test_ids_with_gaps_have_their_groups(tmp_path: Path) -> None:
    with Catalog(tmp_path, create=True) as catalog:
        for key in "abc":
            catalog.put(key, "Item", "", {"color": key}, [PHOTO])
        catalog.change("UPDATE items SET id = 50 WHERE key = 'c'")
        numbers = Groups(catalog, "color").numbers(np.array([50, 2, 3, 51, 1]))
        assert numbers.tolist() == [2, 1, -3, -51, 0]


@pytest.mark.parametrize("letters", ["aAbBÉé%_!\n", "aAbB%_!\n"], ids=["any", "ASCII"])
def test_like_means_what_sqlite_means_by_it(letters: str) -> None:
    rng, database = random.Random(0), sqlite3.connect(":memory:")
    database.execute("CREATE TABLE texts (text)")
    texts = ["".join(rng.choices(letters, k=rng.randint(0, 8))) for _ in range(300)]
    database.executemany("INSERT INTO texts VALUES (?)", [(text,) for text in texts])
    joined = JoinedTexts(texts)
    for _ in range(400):
        pattern = "".join(rng.choices("aAbé%_!\n%", k=rng.randint(0, 7)))
        escape = rng.choice([None, "!", "%", "_", "a"])
        query = "SELECT text LIKE ?" + ("" if escape is None else " ESCAPE ?")
        bound = (pattern,) if escape is None else (pattern, escape)
        expected = [bool(row[0]) for row in database.execute(f"{query} FROM texts", bound)]
        column = ColumnValues(np.zeros(0, np.int32), [], texts)
        assert (column.like(pattern, escape)[:-1] == TRUE).tolist() == expected, (pattern, escape)
        parts = pattern_parts(pattern, escape)
        if parts is not None and joined.can_match(parts):
            assert joined.like(parts).tolist() == expected, (pattern, escape)
        else:
            assert parts is None or (letters[4] == "É" and "_" in pattern)


def test_many_values_are_matched_all_at_once() -> None:
    column = ColumnValues.of([*range(12_000), *(f"Kind {number}" for number in range(12_000))])
    for pattern, expected in {"%11_": r"11.\Z", "kind 1%9": r"(?i)kind 1.*9\Z", "": r"\Z"}.items():
        search = re.compile(expected).search if pattern[:1] == "%" else re.compile(expected).match
        found = [value for value in map(str, column.values) if search(value)]
        values = np.array(list(map(str, column.values)))
        assert values[column.like(pattern)[:-1] == TRUE].tolist() == found
