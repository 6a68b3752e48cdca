"""Items' columns, as a collection has them: what Milvus can filter by.

A row is a photo. Where one item shows it, the row has the item's columns, each as its canonical
value (`catalog/values.py`). Where several items show it, or where Milvus could not hold the
columns, it has none: every filter lets such rows pass, and who asks looks at the items themselves.
So do rows whose items say something else by now, as a collection never changes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np

from pipeline.catalog.catalog import Catalog
from pipeline.catalog.values import Value, canonical
from pipeline.index.base import Ids
from pipeline.index.builds import RowItems

MAX_INTEGER = 2**53  # up to which floats are whole numbers: beyond, numbers are compared otherwise
MAX_BYTES = 60_000  # of the columns of a row: Milvus takes 65,536
BLOCK = 1024  # rows that are looked up at a time

Columns = dict[str, Value]


def row_columns(
    catalog: Catalog, row_items: RowItems, rows: Ids, stale: Collection[int] = ()
) -> list[Columns | None]:
    """Return the columns of some rows, at most a few thousand; None for a row that has none.

    Those that are `stale` are to have none: `row_columns(catalog, build.row_items, np.arange(10))`.
    """
    items = {
        row: int(row_items.first[row])
        for row in rows.tolist()
        if row_items.counts[row] == 1 and row not in stale
    }
    records = catalog.select(
        "SELECT id, key, name, category, metadata FROM items"
        " WHERE id IN (SELECT value FROM json_each(:items))",
        {"items": json.dumps(sorted(set(items.values())))},
    )
    columns = {record["id"]: _columns(record) for record in records}
    return [columns.get(items[row]) if row in items else None for row in rows.tolist()]


def columns_digest(catalog: Catalog, row_items: RowItems) -> str:
    """Return what tells apart collections whose rows have other columns: 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for rows in row_blocks(row_items.rows, BLOCK):
        for columns in row_columns(catalog, row_items, rows):
            digest.update(json.dumps(columns, sort_keys=True).encode() + b"\n")
    return digest.hexdigest()


def changed_rows(before: Catalog, now: Catalog, row_items: RowItems) -> Iterator[int]:
    """Yield the rows whose columns differ between two states of the ledger."""
    for rows in row_blocks(row_items.rows, BLOCK):
        both = (row_columns(catalog, row_items, rows) for catalog in (before, now))
        for row, old, new in zip(rows.tolist(), *both, strict=True):
            if old != new:
                yield row


def row_blocks(rows: int, size: int) -> Iterator[Ids]:
    """Yield the numbers of all rows, `size` at a time."""
    for start in range(0, rows, size):
        yield np.arange(start, min(start + size, rows))


def _columns(record: Any) -> Columns | None:
    """The columns of one item that have a value; None where Milvus could not hold them."""
    cells = json.loads(record["metadata"] or "{}")
    cells |= {"id": record["id"], "key": record["key"], "name": record["name"]}
    cells["category"] = record["category"] or None  # as conditions have it
    columns = {
        name: canonical(int(value) if isinstance(value, bool) else value)
        for name, value in cells.items()
        if isinstance(value, str | int | float)
    }
    is_held = all(is_exact(value) for value in columns.values())
    return columns if is_held and len(json.dumps(columns)) <= MAX_BYTES else None


def is_exact(value: Value) -> bool:
    """Whether Milvus compares a canonical value as conditions do."""
    return isinstance(value, str) or abs(value) <= MAX_INTEGER
