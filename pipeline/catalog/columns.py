"""The columns of a catalog's items: its own, and those of the metadata."""

from __future__ import annotations

import difflib
import json
from collections.abc import Hashable, Sequence
from typing import Any

from pipeline.catalog.catalog import Catalog
from pipeline.catalog.values import canonical
from pipeline.errors import QueryError

_ITEM_COLUMNS = {  # name → SQL; all other columns are metadata
    "id": "id",
    "key": "key",
    "name": "name",
    "category": "NULLIF(category, '')",  # an item without one has none in common with others
}
_MAX_SHOWN = 30  # columns in an error


class Groups:
    """Groups of items that share the value of a column.

    Groups(catalog, "category")([1, 2])  # [("value", "Watches"), ("item", 2)]
    """

    def __init__(self, catalog: Catalog, name: str) -> None:
        """Take a column by its name; a dot may stand between levels of a structured one.

        Raises:
            QueryError: no item has it.
        """
        names = tuple(name.split(".")) if "." in name and not _has(catalog, (name,)) else (name,)
        check_column(catalog, names)
        self.catalog = catalog
        self._sql, self._parameters = column(names)

    def __call__(self, items: Sequence[int]) -> list[Hashable]:
        """Return the group of each item: of equal values (`values.py`), else of the item alone."""
        rows = self.catalog.select(
            f"SELECT id, {self._sql} FROM items"  # noqa: S608
            " WHERE id IN (SELECT value FROM json_each(:items))",
            {**self._parameters, "items": json.dumps(list(items))},
        )
        values = {item: canonical(value) for item, value in rows if value is not None}
        return [("value", values[i]) if i in values else ("item", i) for i in items]


def check_column(catalog: Catalog, names: tuple[str, ...]) -> None:
    """Raise a QueryError, which lists the columns that there are, if no item has this column."""
    if not _has(catalog, names):
        query = "SELECT DISTINCT cell.key FROM items, json_each(metadata) AS cell ORDER BY 1"
        columns = list(dict.fromkeys([*_ITEM_COLUMNS, *(row[0] for row in catalog.select(query))]))
        close = difflib.get_close_matches(names[0], columns, n=1) if len(names) == 1 else []
        nearest = f" (did you mean {close[0]}?)" if close else ""
        more = ", ..." if len(columns) > _MAX_SHOWN else ""
        existing = f"there are {', '.join(columns[:_MAX_SHOWN])}{more}"
        raise QueryError(f"no item has a column {'.'.join(names)!r}{nearest}", hint=existing)


def _has(catalog: Catalog, names: tuple[str, ...]) -> bool:
    if len(names) == 1 and names[0] in _ITEM_COLUMNS:
        return True
    value, parameters = column(names)
    query = f"SELECT 1 FROM items WHERE {value} IS NOT NULL LIMIT 1"  # noqa: S608
    return next(catalog.select(query, parameters), None) is not None


def column(names: tuple[str, ...], prefix: str = "column") -> tuple[str, dict[str, Any]]:
    """Return SQL for the value of a column of `items`, and the parameters that it binds."""
    if len(names) == 1 and names[0] in _ITEM_COLUMNS:
        return _ITEM_COLUMNS[names[0]], {}
    value = "metadata"
    for level in range(len(names)):
        # Not json_extract: its paths cannot name a column with a quote in it.
        value = f"(SELECT value FROM json_each({value}) WHERE key = :{prefix}_{level})"  # noqa: S608
    return value, {f"{prefix}_{level}": name for level, name in enumerate(names)}
