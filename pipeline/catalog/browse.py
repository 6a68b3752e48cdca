"""Look through a catalog without a photo: list items, and see what its columns hold."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.catalog.catalog import Catalog
from pipeline.catalog.conditions import Condition
from pipeline.catalog.values import Value, canonical
from pipeline.catalog.word_index import words_in
from pipeline.catalog.words import find_words

MAX_VALUES = 20  # of a column that are named
MAX_COLUMNS = 100
MAX_LENGTH = 200  # characters of a value that is named


@dataclass(frozen=True)
class PhotoRecord:
    """A photo of an item: its content, and its size in pixels as it arrived."""

    sha256: str
    width: int | None
    height: int | None


@dataclass(frozen=True)
class ItemPage:
    """Some of the items that were looked for, and how many there are of them."""

    items: tuple[int, ...]
    total: int


@dataclass(frozen=True)
class Column:
    """What one column holds, in the available items."""

    name: str
    kind: str
    """number, text, mixed (of both) or structured."""
    items: int
    """How many have a value."""
    distinct: int
    values: tuple[tuple[Value, int], ...]
    """The commonest values, each with its number of items; none of a structured column."""
    minimum: float | None
    """Of its numbers; None if it has none."""
    maximum: float | None


def find_items(
    catalog: Catalog, words: str = "", where: str | None = None, *, start: int = 0, limit: int = 24
) -> ItemPage:
    """Return available items that have words in their name, category, metadata or key.

        find_items(catalog, "red shirt", where="price < 2000", limit=24)

    Those that have all of the words, or if none has, most of them, in the order of `find_words`;
    without words by id. `where` is a condition that must hold for them too.

    Raises:
        QueryError: it is no condition.
        NotBuiltError: words cannot be searched for here.
    """
    condition = None if where is None else Condition(catalog, where)
    if words_in(words):
        found = find_words(catalog, words, condition).best.tolist()
    else:
        rows = catalog.select("SELECT id FROM items WHERE state = 'available' ORDER BY id")
        allowed = None if condition is None else set(condition.items.tolist())
        found = [item for (item,) in rows if allowed is None or item in allowed]
    return ItemPage(tuple(found[start : start + limit]), len(found))


def photos_of(catalog: Catalog, item: int) -> list[PhotoRecord]:
    """Return the available photos of an item, in their order."""
    rows = catalog.select(
        "SELECT sha256, width, height FROM images WHERE item = :item AND state = 'available'"
        " ORDER BY position",
        {"item": item},
    )
    return [PhotoRecord(sha256.hex(), width, height) for sha256, width, height in rows]


def first_photos(catalog: Catalog, items: Sequence[int]) -> dict[int, str]:
    """Return item → the SHA-256 of its first available photo, for those that have one."""
    return {item: sha256 for item, (sha256, _) in first_files(catalog, items).items()}


def first_files(catalog: Catalog, items: Sequence[int]) -> dict[int, tuple[str, Path]]:
    """Return item → SHA-256 and file of its first available photo, for those that have one."""
    rows = catalog.select(
        "SELECT item, sha256, path FROM images WHERE state = 'available'"
        " AND item IN (SELECT value FROM json_each(:items)) ORDER BY item, position DESC",
        {"items": json.dumps(list(items))},
    )
    return {item: (sha256.hex(), catalog.folder / path) for item, sha256, path in rows}


def columns(catalog: Catalog) -> list[Column]:
    """Return what the columns hold that conditions can name: the category, then the metadata's.

    A pass over all available items; keep the answer where it is asked for often.
    """
    counts: dict[str, dict[Value, int]] = {"category": {}}
    structured: dict[str, int] = {}
    rows = catalog.select("SELECT category, metadata FROM items WHERE state = 'available'")
    for category, metadata in rows:
        cells = {"category": category or None, **json.loads(metadata)}
        for name, value in cells.items():
            if isinstance(value, dict | list):
                structured[name] = structured.get(name, 0) + 1
            elif value is not None and (name in counts or len(counts) < MAX_COLUMNS):
                column = counts.setdefault(name, {})
                key = canonical(value)
                column[key] = column.get(key, 0) + 1
    found = [_column(name, values) for name, values in counts.items() if name not in structured]
    return [*found, *(_structured(name, items) for name, items in structured.items())]


def _column(name: str, counts: dict[Value, int]) -> Column:
    numbers = [value for value in counts if not isinstance(value, str)]
    kinds = {(True, False): "number", (False, True): "text", (True, True): "mixed"}
    kind = kinds.get((bool(numbers), len(numbers) < len(counts)), "text")
    common = sorted(counts.items(), key=lambda entry: (-entry[1], str(entry[0])))
    shown = [entry for entry in common if len(str(entry[0])) <= MAX_LENGTH][:MAX_VALUES]
    return Column(
        name,
        kind,
        sum(counts.values()),
        len(counts),
        tuple(shown),
        min(numbers, default=None),
        max(numbers, default=None),
    )


def _structured(name: str, items: int) -> Column:
    return Column(name, "structured", items, 0, (), None, None)
