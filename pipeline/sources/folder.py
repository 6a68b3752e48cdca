"""A directory tree of photos, with or without a CSV file that describes them."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, count
from pathlib import Path

from pipeline.config import FolderSettings, MetadataSettings, expand
from pipeline.errors import SourceError
from pipeline.sources.base import Item, SourcePhoto
from pipeline.sources.cells import levels, typed
from pipeline.sources.rows import MANY

SUFFIXES = (
    ".bmp",
    ".gif",
    ".jfif",
    ".jpe",
    ".jpeg",
    ".jpg",
    ".mpo",
    ".png",
    ".tif",
    ".tiff",
    ".webp",
)


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
            raise SourceError(f"{path}: no such folder; set source.path to your photos")
        return cls(path, settings.metadata)

    @property
    def total(self) -> int:
        """Photos, and rows beyond one for each photo."""
        if self._rows is None:
            return len(self._photos)
        return len(self._photos) + self._rows.count - len(self._described)

    def items(self) -> Iterator[Item]:
        """Yield the photos in natural order of their paths, then the rows without a photo.

        Further rows of one photo are items of their own that show it too.

        Raises:
            SourceError: the metadata cannot be read, or there is no photo.
        """
        if not self._photos:
            raise SourceError(f"{self.path}: no photos below it ({', '.join(SUFFIXES)})")
        for relative in self._photos:
            key = _text(relative)
            photo = SourcePhoto(key, self.path / relative)
            if self._rows and relative in self._described:
                yield from self._rows.items(self._described[relative], key, (photo,))
            else:
                parent = relative.parent.name or self.path.resolve().name
                yield Item(key, _text(Path(relative.stem)), _text(Path(parent)), (photo,))
        if self._rows:
            for row_key in self._rows.keys_beside(self._described.values()):
                yield from self._rows.items(row_key, row_key or "row without a key", ())

    @cached_property
    def _photos(self) -> list[Path]:
        return photos_below(self.path)

    @cached_property
    def _rows(self) -> _Rows | None:
        return _Rows(self.path, self.metadata) if self.metadata else None

    @cached_property
    def _described(self) -> dict[Path, str]:
        """SourcePhoto → the key of its row."""
        return self._rows.match(self._photos) if self._rows else {}


def photos_below(folder: Path) -> list[Path]:
    """Find image files, hidden ones left out; relative paths in their natural order."""
    found = (p.relative_to(folder) for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
    shown = (path for path in found if not any(part.startswith(".") for part in path.parts))
    # Sort: directory order differs between machines and would reshuffle ids and the split.
    return sorted(shown, key=_natural)


class _Rows:
    """The rows of a metadata file, found by path, name or stem of a photo, each taken once."""

    def __init__(self, folder: Path, settings: MetadataSettings) -> None:
        self.settings = settings
        self.file = folder / expand(settings.file)
        self.count = 0
        self.rows: dict[str, list[dict[str, str]]] = {}
        for key, row in self._read(settings.key):
            self.rows.setdefault(key, []).append(row)
            self.count += 1

    def _read(self, key: str) -> Iterator[tuple[str, dict[str, str]]]:
        csv.field_size_limit(MANY)
        try:
            with self.file.open(encoding="utf-8-sig", errors="replace", newline="") as file:
                reader = csv.DictReader(file)
                columns = reader.fieldnames or []
                for setting in ("key", "name", "category"):
                    column = getattr(self.settings, setting)
                    if column is not None and column not in columns:
                        raise SourceError(
                            f"{self.file}: no column {column!r}; set source.metadata.{setting} to"
                            f" one of {', '.join(columns)}"
                        )
                for row in reader:
                    yield (row[key] or "").strip(), {c: row[c] or "" for c in columns}
        except (OSError, csv.Error) as error:
            raise SourceError(f"{self.file}: cannot read the metadata: {error}") from error

    def match(self, photos: list[Path]) -> dict[Path, str]:
        """Give each row to at most one photo: by path first, then by name, then by stem."""
        matched: dict[Path, str] = {}
        for naming in ("as_posix", "name", "stem"):
            taken = set(matched.values())
            for photo in photos:
                key = photo.as_posix() if naming == "as_posix" else str(getattr(photo, naming))
                if photo not in matched and key and key in self.rows and key not in taken:
                    matched[photo] = key
                    taken.add(key)
        return matched

    def keys_beside(self, taken: Iterable[str]) -> list[str]:
        """Return the keys that no photo took, in the order of the file."""
        gone = set(taken)
        return [key for key in self.rows if key not in gone]

    def items(self, row_key: str, key: str, photos: tuple[SourcePhoto, ...]) -> Iterator[Item]:
        """Yield the items that the rows of one key describe, as `key`, `key#2` and so on."""
        numbered = (name for n in count(2) if (name := f"{key}#{n}") not in self.rows)
        for name, row in zip(chain([key], numbered), self.rows[row_key], strict=False):
            yield self._item(name, row, photos)

    def _item(self, key: str, row: dict[str, str], photos: tuple[SourcePhoto, ...]) -> Item:
        settings = self.settings
        # A column may have no heading, as pandas writes its index: "" is a name like any other.
        name = (row[settings.name] if settings.name is not None else "") or Path(key).stem
        category = row[settings.category] if settings.category is not None else ""
        tree = levels(category, settings.category_separator)
        metadata: dict[str, str | int | float | None] = {
            f"category_{depth}": level for depth, level in enumerate(tree, 1)
        }
        metadata |= {
            column: typed(value) for column, value in row.items() if column != settings.key
        }
        return Item(key, name, tree[0] if tree else "", photos, metadata)


def _text(path: Path) -> str:
    """Name a path in valid text: on Linux a file name may be any bytes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """Sort key in which `2.jpg` comes before `10.jpg`."""
    parts = re.split(r"([0-9]+)", path.as_posix())
    return [(1, int(p), p) if p.isdecimal() and p.isascii() else (2, 0, p) for p in parts if p]
