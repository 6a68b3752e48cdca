"""words.py: items that have words, compared with a search through all rows in plain Python."""

from __future__ import annotations

import random
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.catalog import word_index
from pipeline.catalog.catalog import Catalog, ImageRecord, State
from pipeline.catalog.conditions import Condition
from pipeline.catalog.word_index import words_in
from pipeline.catalog.words import find_words
from pipeline.errors import NotBuiltError, QueryError

WORDS = ("red", "blue", "shirt", "shirts", "bag", "bags", "leather", "größe", "42", "dress")
Row = tuple[str, str, str, int]
"""Key, name, category and price."""


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog(tmp_path, create=True) as made:
        yield made


def put(catalog: Catalog, row: Row, *, is_available: bool = True) -> None:
    key, name, category, price = row
    state = State.AVAILABLE if is_available else State.FAILED
    image = ImageRecord(key, state, path=f"/{key}", size=1, sha256=key.encode().ljust(32))
    catalog.put(key, name, category, {"price": price, "tags": [name[:3]]}, [image])


def fill(catalog: Catalog, *rows: Row) -> int:
    with catalog.transaction():
        for row in rows:
            put(catalog, row)
    return catalog.seal_generation()


def found(catalog: Catalog, text: str, where: str | None = None) -> list[str]:
    condition = None if where is None else Condition(catalog, where)
    items = find_words(catalog, text, condition).items.tolist()
    return [record.key for item in items if (record := catalog.item(item))]


def has_word(text: str, word: str) -> bool:
    """Whether a text has a word of `WORDS`, or its plural or singular."""
    one = {"shirts": "shirt", "bags": "bag"}
    words = [w.lower() for w in re.split(r"\W+", text)]
    return one.get(word, word) in [one.get(w, w) for w in words]


def test_each_generation_is_searched_by_itself(tmp_path: Path, catalog: Catalog) -> None:
    draw = random.Random(5)
    rows: dict[str, tuple[Row, bool]] = {}
    kept: dict[int, dict[str, tuple[Row, bool]]] = {}
    for _ in range(12):
        with catalog.transaction():
            for key in draw.sample("abcdefgh", 3):
                name = " ".join(draw.choices(WORDS, k=draw.randrange(4)))
                row = (key, name, draw.choice(WORDS), draw.randrange(3))
                rows[key] = row, draw.random() < 0.8
                put(catalog, row, is_available=rows[key][1])
        if draw.random() < 0.3:  # as they were when the last generation was sealed
            with catalog.transaction():
                for row, is_available in kept[max(kept)].values() if kept else ():
                    put(catalog, row, is_available=is_available)
                    rows[row[0]] = row, is_available
        kept[catalog.seal_generation()] = dict(rows)
        if len(kept) > 3:
            del kept[draw.choice([*kept][:-1])]
            with catalog.transaction():
                catalog.drop_generations(kept)
        for generation, expected in kept.items():
            with Catalog(tmp_path, generation=generation) as then:
                for word in WORDS:
                    having = {
                        key
                        for key, (row, is_available) in expected.items()
                        if is_available and has_word(" ".join(map(str, row)), word)
                    }
                    assert set(found(then, word)) == having, (generation, word)
    assert catalog.damage() is None


def test_the_order_of_a_generation_does_not_depend_on_others(
    tmp_path: Path, catalog: Catalog
) -> None:
    first = fill(catalog, ("a", "red shirt", "", 1), ("b", "red", "shirts", 1), ("c", "bag", "", 2))
    with Catalog(tmp_path, generation=first) as then:
        before = find_words(then, "red shirt bag")
        fill(catalog, *((f"n{i}", "red " * i, "red", i) for i in range(1, 20)))
        after = find_words(then, "red shirt bag")
    assert before.items.tolist() == after.items.tolist()
    assert before.scores.tolist() == after.scores.tolist()


def test_items_with_all_words_come_first_and_names_count_most(catalog: Catalog) -> None:
    fill(
        catalog,
        ("rare", "red leather", "", 1),
        ("category", "shirt", "red", 1),
        ("name", "red shirt", "", 1),
        ("both", "red shirt", "red", 1),
        *((f"s{i}", "shirt", "", 2) for i in range(5)),
    )
    assert found(catalog, "red shirt")[:4] == ["both", "name", "category", "rare"]
    matches = find_words(catalog, "red shirt")
    assert matches.complete == 3
    assert matches.counts.tolist() == [2, 2, 2, 1, 1, 1, 1, 1, 1]
    assert [len(tier.items) for tier in matches.tiers()] == [3, 6]
    assert matches.best.tolist() == matches.items[:3].tolist()
    assert found(catalog, "red shirt", "price = 1") == ["both", "name", "category", "rare"]


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("GROSSE", ["street"]),
        ("größe", ["street"]),
        ("creme brulee", ["dessert"]),
        ("t-shirt", ["tee"]),
        ("TSHIRT", ["tee"]),
        ('"red shirt"', ["tee"]),
        ('"shirt red"', []),
        ('"red shirts"', []),  # a phrase is word for word
        ("womens", ["tee"]),
        ("women's", ["tee"]),
        ("衬衫", ["chinese"]),
        ("рубашка", ["russian"]),
        ("lea*", ["leather"]),
        ("leath", ["leather"]),  # no item has the word, so it is a beginning
        ("red", ["tee"]),  # and not reduced
        ("red*", ["reduced", "tee"]),
        ("example", []),  # of an address
        ("watches", ["watch"]),
        ("dresses", ["dress"]),
        ("'); DROP TABLE items; --", ["table"]),
        ("name:red", ["tee"]),  # no language of columns
        ("a OR b AND NOT c NEAR(red)", ["tee"]),
        ("1999", ["leather"]),
        ("red\x00", ["tee"]),
    ],
)
def test_words(catalog: Catalog, text: str, keys: list[str]) -> None:
    with catalog.transaction():
        for key, name, metadata in (
            ("street", "Straße Größe", {}),
            ("dessert", "Crème brûlée", {}),
            ("tee", "Women’s red shirt", {"kind": "tshirt", "color": "name"}),
            ("chinese", "红色衬衫", {}),
            ("russian", "Красная Рубашка", {}),
            ("leather", "Leather", {"price": 1999, "photo": "https://example.com/x.jpg"}),
            ("reduced", "Reduced", {}),
            ("watch", "Watch", {}),
            ("dress", "Dress", {}),
            ("table", "Table for drops", {"deep": [{"er": "items"}]}),
        ):
            image = ImageRecord(key, State.AVAILABLE, path="/x", size=1, sha256=bytes(32))
            catalog.put(key, name, "", metadata, [image])
    catalog.seal_generation()
    matches = find_words(catalog, text)
    best = matches.best.tolist()
    assert sorted(r.key for i in best if (r := catalog.item(i))) == sorted(keys)


def test_phrases_do_not_reach_across_values(catalog: Catalog) -> None:
    with catalog.transaction():
        image = ImageRecord("a", State.AVAILABLE, path="/x", size=1, sha256=bytes(32))
        catalog.put("a", "", "", {"one": "dark red", "two": "shirt"}, [image])
    catalog.seal_generation()
    assert found(catalog, '"dark red"') == ["a"]
    assert found(catalog, '"red shirt"') == []


@pytest.mark.soak
def test_no_text_is_an_error(catalog: Catalog, soak: bool) -> None:
    fill(catalog, ("a", "red shirt", "bag", 1))
    draw = random.Random(3)
    pieces = [
        *"\"*()-:^+{}[],.\\'%_&|~ \n\t\x00",
        "AND",
        "OR",
        "NOT",
        "NEAR",
        "é",
        "\ud800",
        "衬",
        "red",
    ]
    for _ in range(20_000 if soak else 150):
        text = "".join(draw.choices(pieces, k=draw.randrange(1, 12)))
        if words_in(text):
            assert len(find_words(catalog, text).items) <= 1
        else:
            with pytest.raises(QueryError, match="no word"):
                find_words(catalog, text)
    assert find_words(catalog, "red " * 100_000).items.tolist() == [1]
    assert len(find_words(catalog, "x y z " + " ".join(map(str, range(1000)))).terms) == 20


def test_words_that_no_item_has_are_named(catalog: Catalog) -> None:
    fill(catalog, ("a", "red shirt", "", 1))
    assert find_words(catalog, "red qwx").notes == ("no item has the word 'qwx'",)


def test_nothing_is_written_where_nothing_has_changed(catalog: Catalog) -> None:
    fill(catalog, ("a", "red shirt", "", 1))
    before = _dump(catalog)
    assert fill(catalog, ("a", "red shirt", "", 1)) == 1
    assert _dump(catalog) == before


def _dump(catalog: Catalog) -> list[str]:
    with sqlite3.connect(catalog.file) as database:
        return list(database.iterdump())


def test_a_ledger_without_words_gets_them_when_it_is_sealed(
    tmp_path: Path, catalog: Catalog
) -> None:
    fill(catalog, ("a", "red shirt", "", 1))
    fill(catalog, ("a", "blue shirt", "", 1), ("b", "bag", "", 1))
    with catalog.transaction():
        catalog.change("DROP TABLE words")
        catalog.set_meta("words", None)
    with pytest.raises(NotBuiltError, match="run `imgsearch build`"):
        find_words(catalog, "red")
    assert catalog.seal_generation() == 2
    for generation, keys in ((1, ["a"]), (2, [])):
        with Catalog(tmp_path, generation=generation) as then:
            assert found(then, "red") == keys


def test_words_found_in_another_way_are_indexed_anew(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(word_index, "_MADE_BY", "0")
    fill(catalog, ("a", "red shirt", "", 1))
    monkeypatch.undo()
    with catalog.transaction():
        catalog.change("INSERT INTO words (words) VALUES ('delete-all')")
    assert found(catalog, "red") == []
    catalog.seal_generation()
    assert found(catalog, "red") == ["a"]


def test_a_python_without_full_text_search_builds_and_says_so(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(word_index, "_has_fts5", lambda _: False)
    fill(catalog, ("a", "red shirt", "", 1))
    with pytest.raises(NotBuiltError, match="FTS5"):
        find_words(catalog, "red")
    monkeypatch.undo()
    catalog.seal_generation()
    assert found(catalog, "red") == ["a"]
