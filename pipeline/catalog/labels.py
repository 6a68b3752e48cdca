"""The values of a column, by item: what says which items belong together."""

from __future__ import annotations

from typing import Any, cast

from pipeline.catalog.catalog import Catalog, State
from pipeline.catalog.columns import Groups


def values_of(catalog: Catalog, column: str) -> dict[int, str]:
    """Return item id → value of a column, by ascending id, of the available items that have one.

    Columns are those of `catalog.columns`: `category`, `category_2` or any of the metadata. An
    empty text is no value.

    Raises:
        QueryError: there is no such column.
    """
    group = Groups(catalog, column)
    query = "SELECT id FROM items WHERE state = :available ORDER BY id"
    items = [item for (item,) in catalog.select(query, {"available": State.AVAILABLE})]
    values = cast("list[tuple[str, Any]]", group(items))
    return {
        item: str(value)
        for item, (kind, value) in zip(items, values, strict=True)
        if kind == "value" and value != ""
    }
