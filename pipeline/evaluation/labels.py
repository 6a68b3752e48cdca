"""What counts as right: labels of the catalog's items, and of the photos of query sets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pipeline.catalog.catalog import Catalog, State
from pipeline.catalog.columns import Groups
from pipeline.catalog.values import canonical
from pipeline.errors import QueryError, SourceError
from pipeline.sources.columns import read_columns
from pipeline.sources.csv_rows import csv_rows
from pipeline.sources.walk import photos_below


@dataclass(frozen=True)
class LabeledPhoto:
    """A photo that is a query, and its label."""

    path: Path
    label: str


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


def read_query_set(path: Path) -> list[LabeledPhoto]:
    """Read a query set: a folder, or a CSV file.

    In a folder, the folder in which a photo lies is its label. A CSV file has the columns `file`
    (relative to it) and `label`; rows without both are no queries. A label equals a value of the
    catalog as in conditions: 7, 7.0 and " 7" are one.

    Raises:
        QueryError: it is neither, or has no labeled photo.
    """
    if path.is_dir():
        photos = [
            LabeledPhoto(path / photo, _label(photo.parent.name or path.resolve().name))
            for photo in photos_below(path)
        ]
    else:
        photos = _read_csv(path)
    if not photos:
        hint = "each lies in a folder named by its label"
        raise QueryError("no labeled photos", where=path, hint=hint)
    return photos


def _read_csv(path: Path) -> list[LabeledPhoto]:
    labeled = []
    try:
        rows = csv_rows(path, hint="check the file")
        columns = read_columns(path, rows)
        if not {"file", "label"} <= set(columns):
            raise QueryError("a query set has the columns file and label", where=path)
        for number, cells in enumerate(rows, 1):
            if cells is None:
                raise QueryError(f"cannot read row {number} of the query set", where=path)
            row = dict(zip(columns, cells, strict=False))
            label = _label(row.get("label", ""))
            if row.get("file") and label:
                labeled.append(LabeledPhoto(path.parent / row["file"], label))
    except SourceError as error:
        raise QueryError(f"cannot read the query set: {error}") from error
    return labeled


def _label(text: str) -> str:
    return str(canonical(text))  # as `values_of` has the catalog's
