"""Questions to the ledger about a whole catalogue: answered by SQLite, streamed, never a table."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.catalog.catalog import Catalogue, State

_STATES = {"available": State.AVAILABLE, "removed": State.REMOVED}
_SHOWING = (
    "FROM images AS photo"
    " JOIN images AS shown ON shown.sha256 = photo.sha256 AND shown.state = :available"
    " JOIN items AS item ON item.id = shown.item"
    " WHERE photo.id IN (SELECT value FROM json_each(:photos))"
)


@dataclass(frozen=True)
class Shown:
    """An item as a person would look it up, and the file of one of its photos if it has any."""

    item: int
    key: str
    name: str
    category: str
    photo: str | None


@dataclass(frozen=True)
class Spread:
    """How many different items, names and categories (not counting none) photos stand on."""

    items: int
    names: int
    categories: int


def item_count(catalogue: Catalogue) -> int:
    """Count the items that the source offers now."""
    query = "SELECT COUNT(*) FROM items WHERE state <> :removed"
    return int(next(catalogue.select(query, {"removed": State.REMOVED}))[0])


def without_photo(catalogue: Catalogue) -> Iterator[tuple[str, str, int]]:
    """Stream (state, reason, items) of the items that no photo can be shown of, most first."""
    query = (
        "SELECT state, reason, COUNT(*) FROM items WHERE state NOT IN (:available, :removed)"
        " GROUP BY state, reason ORDER BY 3 DESC, 1, 2"
    )
    yield from map(tuple, catalogue.select(query, _STATES))


def items_in_state(catalogue: Catalogue, state: str, reason: str, limit: int) -> list[Shown]:
    """Return the first items that ended so."""
    query = (
        "SELECT id, key, name, category, NULL FROM items WHERE state = :state AND reason = :reason"
        " ORDER BY id LIMIT :limit"
    )
    parameters = {"state": state, "reason": reason, "limit": limit}
    return [Shown(*row) for row in catalogue.select(query, parameters)]


def shared_photos(catalogue: Catalogue) -> Iterator[tuple[int, Spread]]:
    """Stream (image id, whom it stands on) of the photos of several items, most items first."""
    query = (
        "SELECT MIN(image.id), COUNT(DISTINCT item.id), COUNT(DISTINCT name),"
        " COUNT(DISTINCT NULLIF(category, '')) FROM images AS image"
        " JOIN items AS item ON item.id = image.item WHERE image.state = :available"
        " GROUP BY sha256 HAVING COUNT(DISTINCT item.id) > 1 ORDER BY 2 DESC, 1"
    )
    for photo, *numbers in catalogue.select(query, {"available": State.AVAILABLE}):
        yield photo, Spread(*numbers)


def spread(catalogue: Catalogue, photos: Sequence[int]) -> Spread:
    """Count whom photos, given by the ids of images that show them, stand on together."""
    query = (
        "SELECT COUNT(DISTINCT item.id), COUNT(DISTINCT name),"
        f" COUNT(DISTINCT NULLIF(category, '')) {_SHOWING}"
    )
    return Spread(*next(catalogue.select(query, _showing(photos))))


def items_showing(catalogue: Catalogue, photo: int, limit: int) -> list[Shown]:
    """Return the first items that show the photo of this image."""
    query = (
        f"SELECT item.id, key, name, category, shown.path, MIN(shown.id) {_SHOWING}"
        " GROUP BY item.id ORDER BY item.id LIMIT :limit"
    )
    return _shown(catalogue, query, {**_showing([photo]), "limit": limit})


def categories_showing(catalogue: Catalogue, photos: Sequence[int], limit: int) -> list[Shown]:
    """Return the first item of each category that shows any of the photos of these images."""
    query = (
        f"SELECT item.id, key, name, category, shown.path, MIN(shown.id) {_SHOWING}"
        " GROUP BY category ORDER BY 6 LIMIT :limit"
    )
    return _shown(catalogue, query, {**_showing(photos), "limit": limit})


def small_photos(catalogue: Catalogue, side: int) -> Iterator[tuple[int, int]]:
    """Stream (image id, shorter side) of the photos that arrived smaller, the smallest first."""
    query = (
        "SELECT MIN(id), MIN(width, height) AS side FROM images"
        " WHERE state = :available AND MIN(width, height) < :side GROUP BY sha256 ORDER BY 2, 1"
    )
    yield from map(tuple, catalogue.select(query, {"available": State.AVAILABLE, "side": side}))


def small_categories(catalogue: Catalogue, items: int) -> Iterator[tuple[str, int]]:
    """Stream (category, its available items) of those with fewer than `items`, fewest first."""
    query = (
        "SELECT category, COUNT(*) FROM items WHERE state = :available AND category <> ''"
        " GROUP BY category HAVING COUNT(*) < :items ORDER BY 2, 1"
    )
    yield from map(tuple, catalogue.select(query, {"available": State.AVAILABLE, "items": items}))


def category_size(catalogue: Catalogue, category: str) -> int:
    """Count a category's available items; those of no category if it is empty."""
    query = "SELECT COUNT(*) FROM items WHERE state = :available AND category = :category"
    parameters = {"available": State.AVAILABLE, "category": category}
    return int(next(catalogue.select(query, parameters))[0])


def items_of_category(catalogue: Catalogue, category: str, limit: int) -> list[Shown]:
    """Return a category's first available items."""
    query = (
        "SELECT item.id, key, name, category, path, MIN(image.id) FROM items AS item"
        " JOIN images AS image ON image.item = item.id AND image.state = :available"
        " WHERE category = :category GROUP BY item.id ORDER BY item.id LIMIT :limit"
    )
    parameters = {"available": State.AVAILABLE, "category": category, "limit": limit}
    return _shown(catalogue, query, parameters)


def _shown(catalogue: Catalogue, query: str, parameters: Mapping[str, Any]) -> list[Shown]:
    # Joined to the folder, the absolute paths of the user's own files stay as they are.
    return [
        Shown(item, key, name, category, str(catalogue.folder / path))
        for item, key, name, category, path, _ in catalogue.select(query, parameters)
    ]


def _showing(photos: Sequence[int]) -> dict[str, str]:
    # As JSON: SQLite takes a limited number of parameters, and a cluster may have any number.
    return {"available": State.AVAILABLE, "photos": json.dumps(photos)}
