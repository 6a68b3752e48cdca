"""A folder of photos or a table → the settings of a source that describes it, as far as seen."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from pipeline.errors import SourceError
from pipeline.sources.cells import as_name, blank, photo_uris
from pipeline.sources.columns import read_columns, records
from pipeline.sources.csv_rows import csv_rows
from pipeline.sources.parquet_rows import parquet_rows
from pipeline.sources.table import PARQUET
from pipeline.sources.walk import SUFFIXES, photos_below

MAX_ROWS = 1000  # of a table that are looked at
_TABLES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", *PARQUET)
# Words of headings, the best first.
_ID_WORDS = (
    *("id", "sku", "uid", "uuid", "asin", "ean", "gtin", "upc"),
    *("key", "code", "handle", "no"),
)
_NAME_WORDS = ("name", "title", "label")
_CATEGORY_WORDS = ("category", "categories", "department", "type", "class", "group", "kind")
_IMAGE_WORDS = ("image", "images", "photo", "photos", "picture", "pictures", "img")


Guess = tuple[dict[str, Any], list[str]]
"""Settings of `source`, and notes on what they rest on."""


def guess_source(path: Path) -> Guess:
    """Look at a folder, or at the first rows of a table.

    guess_source(Path("photos"))[0] == {"type": "folder", "path": "photos"}

    Raises:
        SourceError: there is nothing usable.
    """
    if path.is_dir():
        return _folder(path)
    if not path.exists():
        hint = "name a folder of photos, or a table"
        raise SourceError("no such folder or file", where=path, hint=hint)
    return _table(path)


def _folder(folder: Path) -> Guess:
    photos = photos_below(folder)
    tables = sorted(p for p in folder.iterdir() if p.name.lower().endswith(_TABLES))
    if not photos and len(tables) == 1:
        return _table(tables[0])
    if not photos:
        names = ", ".join(table.name for table in tables)
        instead = f"several tables ({names}); name one" if tables else "no table in it"
        what = f"no photos below it, and {instead}"
        raise SourceError(what, where=folder)
    settings: dict[str, Any] = {"type": "folder", "path": str(folder)}
    notes = [f"{folder}: {len(photos):,} photos"]
    guesses: list[tuple[int, dict[str, str]]] = [(0, {})]
    for table in (table for table in tables if not _is_parquet(table)):
        try:
            guesses.append(_metadata(table.name, _read_columns(table), photos))
        except SourceError as error:  # it need not have to do with the photos
            notes.append(str(error))
    matches, metadata = max(guesses, key=lambda guess: guess[0])
    if metadata:
        settings["metadata"] = metadata
        file, columns = metadata["file"], _listed(metadata)
        notes.append(f"{file} describes them ({matches:,} rows were looked up): {columns}")
    else:
        notes.append("the category of a photo is the folder that it is in")
    return settings, notes


def _metadata(
    file: str, columns: Sequence[_Column], photos: Iterable[Path]
) -> tuple[int, dict[str, str]]:
    """Count the rows that name a photo, and guess what the columns mean."""
    names = {text for p in photos for text in (p.as_posix(), p.name, p.stem)}
    matches = {column.name: sum(text in names for text in column.texts) for column in columns}
    key = max(columns, key=lambda column: matches[column.name], default=None)
    if key is None or matches[key.name] < max(1, len(key.texts) / 2):
        return 0, {}
    rest = [column for column in columns if column is not key]
    return matches[key.name], {"file": file, "key": key.name, **_name_and_category(rest)}


def _table(path: Path) -> Guess:
    settings: dict[str, Any] = {"type": "table", "path": str(path)}
    columns = _read_columns(path)
    image = max(columns, key=_image_score, default=None)
    if image is None or not _image_score(image):
        raise SourceError("no column of it holds URLs (http…) of photos", where=path)
    rest = [column for column in columns if not column.urls]
    ids = [column for column in rest if column.is_unique]
    # Without a column of ids, the photo's own URL tells the rows apart.
    key = _by_heading(ids, _ID_WORDS) or next(iter(ids), image)
    meaning = {"key": key.name, "image": image.name}
    meaning |= _name_and_category([column for column in rest if column is not key])
    structured = [c.name for c in rest if c.name not in meaning.values() and c.is_structured]
    settings["columns"] = meaning | ({"structured": structured} if structured else {})
    return settings, [f"{path}: a table with URLs of photos; {_listed(meaning)}"]


@dataclass(frozen=True)
class _Column:
    name: str
    values: list[Any]
    """Blank ones left out."""
    rows: int
    """Rows looked at, blank ones included."""

    @property
    def texts(self) -> list[str]:
        return [as_name(value) for value in self.values]

    @property
    def words(self) -> list[str]:
        """The words of the heading: `productDisplayName` → product, display, name."""
        return re.findall(r"[a-z]+|[A-Z]+(?![a-z])|[A-Z][a-z]+", self.name)

    @property
    def urls(self) -> int:
        """Values that hold a URL."""
        return sum("http" in str(value)[:500] and bool(photo_uris(value)) for value in self.values)

    @property
    def is_unique(self) -> bool:
        """Whether nearly every row has a value of its own."""
        return len(set(self.texts)) >= max(1, 0.95 * self.rows)

    @property
    def is_repeated(self) -> bool:
        """Whether rows share values, as far as so few can tell."""
        return len(set(self.texts)) <= 0.8 * len(self.values) or 0 < len(self.values) < 10

    @property
    def is_structured(self) -> bool:
        """Whether the values are JSON or Ruby objects."""
        braced = sum(bool(re.match(r"\s*\[?\s*\{.*[:=]", text)) for text in self.texts)
        return braced > 0.5 * max(1, len(self.values))


def _read_columns(path: Path) -> list[_Column]:
    """Read the first rows of a CSV or Parquet file."""
    with closing(parquet_rows(path) if _is_parquet(path) else csv_rows(path)) as rows:
        names = read_columns(path, rows)
        found = (record for _, record in records(names, rows) if not isinstance(record, str))
        whole = list(islice(found, MAX_ROWS))
    return [
        _Column(name, [row[name] for row in whole if not blank(row[name])], len(whole))
        for name in names
        if name
    ]


def _is_parquet(path: Path) -> bool:
    return path.suffix.lower() in PARQUET


def _image_score(column: _Column) -> int:
    """How likely it holds the URLs of photos; 0 if at all unlikely."""
    if column.urls < 0.5 * max(1, len(column.values)):
        return 0
    named = any(word.lower() in _IMAGE_WORDS for word in column.words)
    suffixed = sum(any(f"{s}" in text.lower() for s in SUFFIXES) for text in column.texts)
    return 2 * named + (suffixed > 0.5 * len(column.values)) + 1


def _name_and_category(columns: Sequence[_Column]) -> dict[str, str]:
    plain = [column for column in columns if column.values and not column.urls]
    name = _by_heading(plain, _NAME_WORDS)
    rest = [column for column in plain if column is not name and column.is_repeated]
    category = _by_heading(rest, _CATEGORY_WORDS)
    columns_by_meaning = {"name": name, "category": category}
    return {meaning: column.name for meaning, column in columns_by_meaning.items() if column}


def _by_heading(columns: Iterable[_Column], words: Sequence[str]) -> _Column | None:
    """Return the first column with the best of some words in its heading."""
    by_word: dict[str, _Column] = {}
    for column in columns:
        for word in column.words:
            by_word.setdefault(word.lower(), column)
    return next((by_word[word] for word in words if word in by_word), None)


def _listed(meaning: dict[str, str]) -> str:
    return ", ".join(f"{name} is {column!r}" for name, column in meaning.items() if name != "file")
