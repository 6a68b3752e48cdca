"""Statistics of a whole catalog: computed by SQLite and streamed, whatever its size.

A `limit` of None is none.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline.catalog.catalog import Catalog

# Ids are bound as one JSON text: SQLite takes a limited number of parameters.
_SHOWING = (
    "FROM images AS photo"
    " JOIN images AS shown ON shown.sha256 = photo.sha256 AND shown.state = 'available'"
    " JOIN items AS item ON item.id = shown.item"
    " WHERE photo.id IN (SELECT value FROM json_each(:photos))"
)


@dataclass(frozen=True)
class ItemSummary:
    """An item as a person would look it up, and the file of one of its photos, if it has any."""

    item: int
    key: str
    name: str
    category: str
    photo: str | None


@dataclass(frozen=True)
class Spread:
    """How many different items, names and (non-empty) categories show some photos."""

    items: int
    names: int
    categories: int


def item_count(catalog: Catalog) -> int:
    """Count the items that the source offers now."""
    return int(next(catalog.select("SELECT COUNT(*) FROM items WHERE state <> 'removed'"))[0])


def without_photo(catalog: Catalog) -> Iterator[tuple[str, str, int]]:
    """Stream (state, reason, number of items) of the items without a photo, most items first."""
    query = (
        "SELECT state, reason, COUNT(*) FROM items WHERE state NOT IN ('available', 'removed')"
        " GROUP BY state, reason ORDER BY 3 DESC, 1, 2"
    )
    yield from map(tuple, catalog.select(query))


def items_in_state(
    catalog: Catalog, state: str, reason: str, limit: int | None
) -> list[ItemSummary]:
    """Return the first `limit` items that ended in this state for this reason."""
    query = (
        "SELECT id, key, name, category, NULL FROM items WHERE state = :state AND reason = :reason"
        " ORDER BY id LIMIT :limit"
    )
    return _summaries(catalog, query, limit, state=state, reason=reason)


def shared_photos(catalog: Catalog) -> Iterator[tuple[int, Spread]]:
    """Stream (image id, spread) of the photos that several items show, most items first."""
    query = (
        "SELECT MIN(image.id), COUNT(DISTINCT item.id), COUNT(DISTINCT name),"
        " COUNT(DISTINCT NULLIF(category, '')) FROM images AS image"
        " JOIN items AS item ON item.id = image.item WHERE image.state = 'available'"
        " GROUP BY sha256 HAVING COUNT(DISTINCT item.id) > 1 ORDER BY 2 DESC, 1"
    )
    for image, *counts in catalog.select(query):
        yield image, Spread(*counts)


def spread(catalog: Catalog, photos: Sequence[int]) -> Spread:
    """Count who shows any of some photos, given by the ids of images."""
    query = (
        "SELECT COUNT(DISTINCT item.id), COUNT(DISTINCT name),"
        f" COUNT(DISTINCT NULLIF(category, '')) {_SHOWING}"
    )
    return Spread(*next(catalog.select(query, {"photos": json.dumps(photos)})))


def items_showing(catalog: Catalog, photo: int, limit: int | None) -> list[ItemSummary]:
    """Return the first `limit` items that show the photo of this image."""
    query = (
        f"SELECT item.id, key, name, category, shown.path, MIN(shown.id) {_SHOWING}"
        " GROUP BY item.id ORDER BY item.id LIMIT :limit"
    )
    return _summaries(catalog, query, limit, photos=json.dumps([photo]))


def categories_showing(
    catalog: Catalog, photos: Sequence[int], limit: int | None
) -> list[ItemSummary]:
    """Return the first item of each category that shows any of the photos of these images."""
    query = (
        f"SELECT item.id, key, name, category, shown.path, MIN(shown.id) {_SHOWING}"
        " GROUP BY category ORDER BY 6 LIMIT :limit"
    )
    return _summaries(catalog, query, limit, photos=json.dumps(photos))


def small_photos(catalog: Catalog, side: int) -> Iterator[tuple[int, int]]:
    """Stream (image id, shorter side in pixels) of photos smaller than `side`, smallest first."""
    query = (
        "SELECT MIN(id), MIN(width, height) AS side FROM images"
        " WHERE state = 'available' AND MIN(width, height) < :side GROUP BY sha256 ORDER BY 2, 1"
    )
    yield from map(tuple, catalog.select(query, {"side": side}))


def small_categories(catalog: Catalog, items: int) -> Iterator[tuple[str, int]]:
    """Stream (category, available items) of those with fewer than `items`, smallest first."""
    query = (
        "SELECT category, COUNT(*) FROM items WHERE state = 'available' AND category <> ''"
        " GROUP BY category HAVING COUNT(*) < :items ORDER BY 2, 1"
    )
    yield from map(tuple, catalog.select(query, {"items": items}))


def category_size(catalog: Catalog, category: str) -> int:
    """Count a category's available items; of "", those without a category."""
    query = "SELECT COUNT(*) FROM items WHERE state = 'available' AND category = :category"
    return int(next(catalog.select(query, {"category": category}))[0])


def items_of_category(catalog: Catalog, category: str, limit: int | None) -> list[ItemSummary]:
    """Return a category's first `limit` available items."""
    query = (
        "SELECT item.id, key, name, category, path, MIN(image.id) FROM items AS item"
        " JOIN images AS image ON image.item = item.id AND image.state = 'available'"
        " WHERE category = :category GROUP BY item.id ORDER BY item.id LIMIT :limit"
    )
    return _summaries(catalog, query, limit, category=category)


def _summaries(
    catalog: Catalog, query: str, limit: int | None, **parameters: str
) -> list[ItemSummary]:
    # Joined to the folder, the absolute paths of the user's own files stay as they are.
    return [
        ItemSummary(item, key, name, category, str(catalog.folder / path) if path else None)
        for item, key, name, category, path, *_ in catalog.select(
            query, {**parameters, "limit": -1 if limit is None else limit}
        )
    ]
