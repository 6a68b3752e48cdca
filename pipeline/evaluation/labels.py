"""What counts as right: labels of the catalog's items, and query sets that bring their own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pipeline.catalog.catalog import Catalog, State
from pipeline.catalog.columns import Groups
from pipeline.errors import QueryError, SourceError
from pipeline.sources.columns import read_columns
from pipeline.sources.csv_rows import csv_rows
from pipeline.sources.folder import photos_below


@dataclass(frozen=True)
class LabeledPhoto:
    """A photo to ask with, and what it shows."""

    path: Path
    label: str


def values_of(catalog: Catalog, column: str) -> dict[int, str]:
    """Return item id → value of a column, by ascending id, of the available items that have one.

    Columns are those of `store.filters`: `category`, `category_2` or any of the metadata. An empty
    text is no value.

    Raises:
        QueryError: there is no such column.
    """
    group = Groups(catalog, column)
    query = "SELECT id FROM items WHERE state = :available ORDER BY id"
    items = [item for (item,) in catalog.select(query, {"available": State.AVAILABLE})]
    found = cast("list[tuple[str, Any]]", group(items))
    return {
        item: str(value)
        for item, (kind, value) in zip(items, found, strict=True)
        if kind == "value" and value != ""
    }


def query_set(path: Path) -> list[LabeledPhoto]:
    """Read a query set: a folder, or a CSV file.

    In a folder, the folder in which a photo lies is its label. A CSV file has the columns `file`
    (relative to it) and `label`; rows without a label are no queries.

    Raises:
        QueryError: it is neither, or has no labeled photo.
    """
    if path.is_dir():
        found = [
            LabeledPhoto(path / photo, photo.parent.name or path.resolve().name)
            for photo in photos_below(path)
        ]
    else:
        found = _rows(path)
    if not found:
        raise QueryError(f"{path}: no labeled photos; each lies in a folder named by its label")
    return found


def _rows(path: Path) -> list[LabeledPhoto]:
    labeled = []
    try:
        rows = csv_rows(path, hint="check the file")
        columns = read_columns(path, rows)
        if not {"file", "label"} <= set(columns):
            raise QueryError(f"{path}: a query set has the columns file and label")
        for number, cells in enumerate(rows, 1):
            if cells is None:
                raise QueryError(f"{path}: cannot read row {number} of the query set")
            row = dict(zip(columns, cells, strict=False))
            if row.get("file") and row.get("label"):
                labeled.append(LabeledPhoto(path.parent / row["file"], row["label"]))
    except SourceError as error:
        raise QueryError(f"cannot read the query set: {error}") from error
    return labeled
