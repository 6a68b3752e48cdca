"""A directory tree of photos, with or without a CSV file that describes them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, count
from pathlib import Path

from pipeline.config import FolderSettings, MetadataSettings, expand
from pipeline.errors import SourceError
from pipeline.sources.base import Skipped, SourceItem, SourcePhoto
from pipeline.sources.cells import level_columns, split_levels, typed, unescaped
from pipeline.sources.columns import check_columns, read_columns, records
from pipeline.sources.csv_rows import csv_rows

SUFFIXES = (".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".mpo", ".png", ".tif", ".tiff",
            ".webp")  # fmt: skip


@dataclass(frozen=True)
class FolderSource:
    """Each photo is an item; without metadata its parent folder is its category.

    With metadata, a row describes the photo whose path below the folder, file name, or file name
    without suffix is in its key column; a row without a photo is an item too, without a photo.
    """

    path: Path
    metadata: MetadataSettings | None = None
    version: None = None  # files may change at any time; open the folder anew to see it

    @classmethod
    def of(cls, settings: FolderSettings) -> FolderSource:
        """Open the folder that a configuration names.

        Raises:
            SourceError: there is no such folder.
        """
        path = expand(settings.path)
        if not path.is_dir():
            raise SourceError("no such folder", where=path, hint="set source.path to your photos")
        return cls(path, settings.metadata)

    @property
    def total(self) -> int:
        """Photos, and rows beyond one for each photo."""
        if self._rows is None:
            return len(self._photos)
        rows = len(self._rows.skipped) + sum(map(len, self._rows.rows.values()))
        return len(self._photos) + rows - len(self._described)

    def items(self) -> Iterator[SourceItem | Skipped]:
        """Yield the photos in natural order of their paths, then the rows without a photo.

        Further rows of the same photo are items of their own that show it too. Rows that cannot be
        read come last.
        """
        if not self._photos:
            raise SourceError(f"no photos below it ({', '.join(SUFFIXES)})", where=self.path)
        for relative in self._photos:
            key = _text(relative)
            photo = SourcePhoto(key, self.path / relative)
            if self._rows and relative in self._described:
                yield from self._rows.items(self._described[relative], key, (photo,))
            else:
                parent = relative.parent.name or self.path.resolve().name
                yield SourceItem(key, _text(Path(relative.stem)), _text(Path(parent)), (photo,))
        if self._rows:
            matched = set(self._described.values())
            for row_key in (key for key in self._rows.rows if key not in matched):
                yield from self._rows.items(row_key, row_key or "row without a key", ())
            yield from self._rows.skipped

    @cached_property
    def _photos(self) -> list[Path]:
        return photos_below(self.path)

    @cached_property
    def _rows(self) -> _MetadataRows | None:
        return _MetadataRows(self.path, self.metadata) if self.metadata else None

    @cached_property
    def _described(self) -> dict[Path, str]:
        """Path of a photo → the key of its row."""
        return self._rows.match(self._photos) if self._rows else {}


def photos_below(folder: Path) -> list[Path]:
    """Find image files that are not hidden; relative paths in their natural order.

    photos_below(Path("shop"))  # [Path("caps/2.jpg"), Path("caps/10.jpg")]
    """
    paths = (p.relative_to(folder) for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
    visible = (path for path in paths if not any(part.startswith(".") for part in path.parts))
    # Sorted: the order of a directory differs between machines, and ids and splits follow it.
    return sorted(visible, key=_natural)


class _MetadataRows:
    """The rows of a metadata file, by path, name or stem of the photo that each describes."""

    def __init__(self, folder: Path, settings: MetadataSettings) -> None:
        self.settings = settings
        self.rows: dict[str, list[dict[str, str]]] = {}
        self.skipped: list[Skipped] = []
        file = folder / expand(settings.file)
        rows = csv_rows(file, settings, "source.metadata")
        columns = read_columns(file, rows)
        needed = [(name, getattr(settings, name)) for name in ("key", "name", "category")]
        check_columns(file, columns, needed, "source.metadata")
        for number, row in records(columns, rows):
            if isinstance(row, str):
                self.skipped.append(Skipped(number, row))
            else:
                self.rows.setdefault(row[settings.key].strip(), []).append(row)

    def match(self, photos: list[Path]) -> dict[Path, str]:
        """Give each row to at most one photo: by path first, then by name, then by stem."""
        matched: dict[Path, str] = {}
        for naming in (Path.as_posix, lambda path: path.name, lambda path: path.stem):
            used = set(matched.values())
            for photo in photos:
                key = naming(photo)
                if photo not in matched and key and key in self.rows and key not in used:
                    matched[photo] = key
                    used.add(key)
        return matched

    def items(
        self, row_key: str, key: str, photos: tuple[SourcePhoto, ...]
    ) -> Iterator[SourceItem]:
        """Yield the items that the rows of one key describe, as `key`, `key#2` and so on."""
        settings = self.settings
        numbered = (name for n in count(2) if (name := f"{key}#{n}") not in self.rows)
        for item, row in zip(chain([key], numbered), self.rows[row_key], strict=False):
            # A column may have no heading, as pandas writes its index: "" is a name like any other.
            name = row[settings.name] if settings.name is not None else ""
            name = unescaped(name) or Path(item).stem
            category = row[settings.category] if settings.category is not None else ""
            levels = split_levels(category, settings.category_separator)
            cells = {column: typed(text) for column, text in row.items() if column != settings.key}
            metadata = level_columns(levels) | cells
            yield SourceItem(item, name, levels[0] if levels else "", photos, metadata)


def _text(path: Path) -> str:
    """Name a path in valid text: on Linux a file name may be any bytes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """Sort key in which `2.jpg` comes before `10.jpg`."""
    parts = re.split(r"([0-9]+)", path.as_posix())
    return [(1, int(p), p) if p.isdecimal() and p.isascii() else (2, 0, p) for p in parts if p]
