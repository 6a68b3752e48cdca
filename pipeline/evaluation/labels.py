"""What counts as right: labels of the catalog's items, and of the photos of query sets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.catalog.photos import MISSING
from pipeline.catalog.values import canonical
from pipeline.config import CsvSettings
from pipeline.errors import QueryError, SourceError
from pipeline.sources.cells import unescaped
from pipeline.sources.columns import read_columns, records, shown
from pipeline.sources.csv_rows import csv_rows
from pipeline.sources.walk import photos_below


@dataclass(frozen=True)
class LabeledPhoto:
    """A photo that is a query, and its label."""

    path: Path
    label: str


def read_query_set(path: Path, how: CsvSettings) -> tuple[list[LabeledPhoto], Counter[str]]:
    """Read a query set: a folder, or a CSV file.

    In a folder, the folder in which a photo lies is its label. A CSV file has the columns `file`
    (relative to it) and `label`, and is written as `how` says. A label equals a value of the
    catalog as in conditions: 7, 7.0 and " 7" are one.

        photos, skipped = read_query_set(Path("queries.csv"), config.query_set)

    Returns:
        The photos, and why rows of the file are none → how many.

    Raises:
        QueryError: it is neither, or has no labeled photo.
    """
    skipped: Counter[str] = Counter()
    if path.is_dir():
        photos = [
            LabeledPhoto(path / photo, _label(photo.parent.name or path.resolve().name))
            for photo in photos_below(path)
        ]
    else:
        photos = list(_read_csv(path, how, skipped))
    if not photos:
        hint = "each lies in a folder named by its label, or has a row with its file and label"
        raise QueryError("no labeled photos", where=path, hint=hint)
    return photos, skipped


def _read_csv(path: Path, how: CsvSettings, skipped: Counter[str]) -> Iterator[LabeledPhoto]:
    try:
        rows = csv_rows(path, how, "query_set")
        columns = read_columns(path, rows)
        if not {"file", "label"} <= set(columns):
            hint = f"the columns of this one are {shown(columns)}"
            raise QueryError("a query set has the columns file and label", where=path, hint=hint)
        for _, row in records(columns, rows):
            photo = row if isinstance(row, str) else _labeled(path.parent, row)
            if isinstance(photo, str):
                skipped[photo] += 1
            else:
                yield photo
    except SourceError as error:
        raise QueryError(f"cannot read the query set: {error}") from error


def _labeled(folder: Path, row: Mapping[str, str]) -> LabeledPhoto | str:
    """The photo that a row names, or why there is none."""
    file, label = row["file"].strip(), _label(unescaped(row["label"]))
    if not file or not label:
        return "no label" if file else "no file"
    return MISSING if "\0" in file else LabeledPhoto(folder / file, label)


def _label(text: str) -> str:
    return str(canonical(text))  # as `values_of` has the catalog's
