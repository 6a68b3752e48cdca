"""A CSV or Parquet file with a row for each product, and the URLs of its photos."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.artifacts import digest, sha256_file
from pipeline.config import TableSettings, expand
from pipeline.errors import SourceError, SourceGoneError
from pipeline.sources.base import Skipped, SourceItem, SourcePhoto
from pipeline.sources.cells import (
    as_name,
    level_columns,
    photo_uris,
    table_levels,
    typed,
    unescaped,
)
from pipeline.sources.columns import check_columns, read_columns, records
from pipeline.sources.csv_rows import MAX_ROW_CHARS, CsvRows, csv_rows
from pipeline.sources.parquet_rows import ParquetRows, parquet_count, parquet_rows
from pipeline.sources.structures import structured

PARQUET = (".parquet", ".pq")


@dataclass(frozen=True)
class TableSource:
    """Each row is an item, or is skipped for a reason; rows count from 1 below the heading."""

    path: Path
    settings: TableSettings
    max_row_chars: int = MAX_ROW_CHARS  # a longer row of a CSV file is unreadable

    @classmethod
    def of(cls, settings: TableSettings) -> TableSource:
        """Open the file that a configuration names.

        Raises:
            SourceGoneError: there is no such file.
        """
        path = expand(settings.path).absolute()
        try:
            status = path.stat()
        except OSError as error:
            hint = "set source.path to your CSV or Parquet file"
            raise SourceGoneError(str(error.strerror), where=path, hint=hint) from error
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISFIFO(status.st_mode)):
            kind = "a folder" if path.is_dir() else "not a regular file"
            raise SourceError(kind, where=path, hint="set source.path to a CSV or Parquet file")
        return cls(path, settings)

    @property
    def version(self) -> str | None:
        """Of the bytes of the file, whenever they were written, and of how it is read."""
        if not self.path.is_file():
            return None  # `items` says so; the other end of a FIFO would notice a look into it
        read_as = self.settings.model_dump(mode="json")
        return digest([str(self.path), sha256_file(self.path), read_as])

    @property
    def total(self) -> int | None:
        """Rows, if the file says how many it has."""
        return parquet_count(self.path) if self._is_parquet else None

    def items(self) -> Iterator[SourceItem | Skipped]:
        """Yield an item, or why there is none, for each row in the order of the file."""
        given = self.settings.columns
        with closing(self._rows()) as rows:
            columns = read_columns(self.path, rows)
            needed = [(name, getattr(given, name)) for name in ("key", "image", "name", "category")]
            needed += [("structured", name) for name in given.structured]
            check_columns(self.path, columns, needed, "source.columns")
            for number, cells in records(columns, rows):
                yield self._item(number, cells)

    def _rows(self) -> CsvRows | ParquetRows:
        if self._is_parquet:
            return parquet_rows(self.path)
        return csv_rows(self.path, self.settings, "source", self.max_row_chars)

    @property
    def _is_parquet(self) -> bool:
        return self.path.suffix.lower() in PARQUET

    def _item(self, row: int, fields: dict[str, Any] | str) -> SourceItem | Skipped:
        if isinstance(fields, str):
            return Skipped(row, fields)
        given = self.settings.columns
        key = as_name(fields[given.key])
        if not key:
            return Skipped(row, "no id")
        name = unescaped(as_name(fields[given.name]) if given.name is not None else "") or key
        category = fields[given.category] if given.category is not None else None
        levels = table_levels(category, given.category_separator, name)
        uris = photo_uris(fields[given.image])
        photos = tuple(map(SourcePhoto, uris or ()))
        photos = photos[:1] if self.settings.images == "first" else photos
        metadata = level_columns(levels) | self._metadata(fields)
        without_photo = "unreadable photo list" if uris is None else "no photo"
        category = levels[0] if levels else ""
        return SourceItem(key, name, category, photos, metadata, row, without_photo)

    def _metadata(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Every column but the id and the photos; the cells of a CSV file have no types yet."""
        given, plain = self.settings.columns, (lambda value: value) if self._is_parquet else typed
        return {
            column: structured(value) if column in given.structured else plain(value)
            for column, value in fields.items()
            if column not in (given.key, given.image)
        }
