"""A CSV or Parquet file with a row for each product, and the URLs of its photos."""

from __future__ import annotations

import stat
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from pipeline.artifacts import digest
from pipeline.config import TableSettings, expand
from pipeline.errors import SourceError
from pipeline.sources.base import Item, Skipped, SourcePhoto
from pipeline.sources.cells import blank, category_levels, photo_uris, typed, worded
from pipeline.sources.rows import CsvRows, ParquetRows, csv_rows, parquet_count, parquet_rows
from pipeline.sources.structures import structured

PARQUET = (".parquet", ".pq")
_SHOWN = 30  # columns in a message


@dataclass(frozen=True)
class TableSource:
    """Each row is an item, or is skipped for a reason; rows count from 1 below the heading."""

    path: Path
    settings: TableSettings
    version: str
    """Names the file as it was when it was opened, and how it is read."""

    @classmethod
    def of(cls, settings: TableSettings) -> TableSource:
        """Open the file that a configuration names.

        Raises:
            SourceError: there is no such file, or no such encoding.
        """
        path = expand(settings.path).absolute()
        try:
            "".encode("utf-8" if settings.encoding is None else settings.encoding)
        except (LookupError, ValueError) as error:
            raise SourceError(
                f"source.encoding: {settings.encoding!r} is no text encoding; leave it out, or name"
                " one such as utf-8 or cp1252"
            ) from error
        try:
            status = path.stat()
        except OSError as error:
            raise SourceError(
                f"{path}: {error.strerror}; set source.path to your CSV or Parquet file"
            ) from error
        if path.is_dir():
            raise SourceError(f"{path}: a folder; set source.path to a CSV or Parquet file")
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISFIFO(status.st_mode)):
            raise SourceError(
                f"{path}: not a regular file; set source.path to a CSV or Parquet file"
            )
        read_as = settings.model_dump(mode="json")
        return cls(path, settings, digest([str(path), status.st_size, status.st_mtime_ns, read_as]))

    @property
    def total(self) -> int | None:
        """Rows, if the file says how many it has."""
        return parquet_count(self.path) if self._is_parquet else None

    def items(self) -> Iterator[Item | Skipped]:
        """Yield an item, or why there is none, for each row in the order of the file.

        Raises:
            SourceError: the file cannot be read, or lacks a column that the settings name.
        """
        rows: CsvRows | ParquetRows = (
            parquet_rows(self.path)
            if self._is_parquet
            else csv_rows(self.path, self.settings.delimiter, self.settings.encoding)
        )
        with closing(rows):
            heading = next((row for row in rows if row is None or not all(map(blank, row))), None)
            if heading is None:
                raise SourceError(f"{self.path}: no heading; the first row must name the columns")
            columns = self._columns(heading)
            for number, cells in enumerate(rows, 1):
                yield self._item(number, columns, cells)

    @property
    def _is_parquet(self) -> bool:
        return self.path.suffix.lower() in PARQUET

    def _columns(self, heading: list[str]) -> list[str]:
        """Name every column once, and see that those of the settings are there."""
        columns = _distinct(name.strip() for name in heading)
        given = self.settings.columns
        for setting, names in (
            ("key", (given.key,)),
            ("image", (given.image,)),
            ("name", (given.name,)),
            ("category", (given.category,)),
            ("structured", given.structured),
        ):
            for name in names:
                if name is not None and name not in columns:
                    if any("\0" in column for column in columns):
                        raise SourceError(
                            f"{self.path}: no column {name!r}, and NUL characters in the heading;"
                            " set source.encoding to that of the file, such as utf-16-le"
                        )
                    raise SourceError(
                        f"{self.path}: no column {name!r}; set source.columns.{setting} to one of"
                        f" {_shown(columns)}"
                    )
        return columns

    def _item(self, row: int, columns: list[str], cells: list[Any] | None) -> Item | Skipped:
        if cells is None:
            return Skipped(row, "unreadable row")
        if all(map(blank, cells)):
            return Skipped(row, "blank row")
        # A row too short may lack any of its cells, not the last ones: nothing in it can be relied
        # on. Blank cells beyond the last column are only commas.
        if len(cells) < len(columns) or not all(map(blank, cells[len(columns) :])):
            return Skipped(row, "wrong number of fields")
        given, fields = self.settings.columns, dict(zip(columns, cells, strict=False))
        key = worded(fields[given.key])
        if not key:
            return Skipped(row, "no id")
        name = (worded(fields[given.name]) if given.name is not None else "") or key
        tree = fields[given.category] if given.category is not None else None
        levels = category_levels(tree, given.category_separator, name)
        uris = photo_uris(fields[given.image])
        photos = tuple(map(SourcePhoto, uris or ()))
        return Item(
            key,
            name,
            levels[0] if levels else "",
            photos[:1] if self.settings.images == "first" else photos,
            {f"category_{n}": level for n, level in enumerate(levels, 1)} | self._metadata(fields),
            row,
            "unreadable photo list" if uris is None else "no photo",
        )

    def _metadata(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Every column but the id and the photos; the cells of a CSV file have no types yet."""
        given, parquet = self.settings.columns, self._is_parquet
        return {
            column: structured(value)
            if column in given.structured
            else value
            if parquet
            else typed(value)
            for column, value in fields.items()
            if column not in (given.key, given.image)
        }


def _distinct(names: Iterable[str]) -> list[str]:
    """Number the names that come again: `size`, `size#2`, `size#3`."""
    names = list(names)
    given, taken = set(names), set[str]()
    numbers: defaultdict[str, count[int]] = defaultdict(lambda: count(2))
    for place, name in enumerate(names):
        if name in taken:
            names[place] = next(
                n for number in numbers[name] if (n := f"{name}#{number}") not in given
            )
        taken.add(name)
    return names


def _shown(columns: list[str]) -> str:
    """List columns in a line; a file that is no table may have anything for them."""
    text = ", ".join(ascii(c)[1:-1] if not c.isprintable() else c for c in columns[:_SHOWN])
    more = f" and {len(columns) - _SHOWN} more" if len(columns) > _SHOWN else ""
    hint = " (is source.delimiter right?)" if len(columns) == 1 else ""
    return (text if len(text) <= 500 else text[:500] + "…") + more + hint
