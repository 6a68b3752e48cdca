"""A directory tree of photos, with or without a CSV file that describes them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain, count
from pathlib import Path

from pipeline.artifacts import digest, sha256_file
from pipeline.config import FolderSettings, MetadataSettings, expand
from pipeline.errors import DamagedArtifactError, SourceGoneError
from pipeline.sources.base import NO_PHOTO, NO_ROW, Offer, Skipped, SourceItem, SourcePhoto
from pipeline.sources.cells import level_columns, split_levels, typed, unescaped
from pipeline.sources.columns import check_columns, read_columns, records
from pipeline.sources.csv_rows import csv_rows
from pipeline.sources.matching import match_rows
from pipeline.sources.walk import FolderContents, path_text, walk


@dataclass(frozen=True)
class FolderSource:
    """Each photo is an item; without metadata its parent folder is its category.

    With metadata, a row describes the photo whose path below the folder, file name, or file name
    without suffix is in its key column (`matching.py`). A row without a photo is an item too,
    without a photo; a photo without a row is an item without a category.
    """

    path: Path
    metadata: MetadataSettings | None = None
    row_paths: Mapping[str, str] = field(default_factory=dict)  # as of `with_rows`

    @classmethod
    def of(cls, settings: FolderSettings) -> FolderSource:
        """Open the folder that a configuration names.

        Raises:
            SourceGoneError: there is no such folder.
        """
        path = expand(settings.path)
        if not path.is_dir():
            raise SourceGoneError(
                "no such folder", where=path, hint="set source.path to your photos"
            )
        return cls(path, settings.metadata)

    def with_rows(self, rows: Mapping[str, str]) -> FolderSource:
        """Return the folder as it was listed, told of rows whose photos were renamed.

        A row that names no photo describes the one at its path in `rows`: path → key of the row.
        """
        other = replace(self, row_paths=rows)
        vars(other).update(_contents=self._contents, _rows=self._rows)
        return other

    def rows_of(self, paths: Collection[str]) -> dict[str, str]:
        """Return, by path, the keys of rows that describe photos which are there no more."""
        if self._rows is None:
            return {}
        free = self._rows.rows.keys() - set(self._described.values())
        known = {path: self.row_paths[path] for path in paths if self.row_paths.get(path) in free}
        others = [Path(path) for path in paths if path not in known]
        matched = match_rows(sorted(free - set(known.values())), others)
        return known | {path_text(path): row_key for path, row_key in matched.items()}

    @property
    def version(self) -> str | None:
        """What changes when a file does, without opening photos; open the folder anew to see it."""
        try:
            if not self._contents.paths:
                return None
            files = [self.path / expand(self.metadata.file)] if self.metadata else []
            described = [sha256_file(file) for file in files]
        except (SourceGoneError, DamagedArtifactError):
            return None  # `items` says so
        how = self.metadata.model_dump(mode="json") if self.metadata else None
        version = self._contents.version
        return version and digest([str(self.path), how, described, version])

    @property
    def total(self) -> int:
        """Photos, and rows beyond one for each photo."""
        photos = len(self._contents.paths)
        if self._rows is None:
            return photos
        rows = len(self._rows.skipped) + sum(map(len, self._rows.rows.values()))
        return photos + rows - len(self._described)

    def items(self) -> Iterator[Offer]:
        """Yield what is left out, the photos in natural order of their paths, rows without a photo.

        Further rows of the same photo are items of their own that show it too. Rows that cannot be
        read come last.
        """
        contents = self._contents
        if not contents.paths:
            raise SourceGoneError(f"no photos below it{_such_as(contents)}", where=self.path)
        read = self.metadata and self.path / expand(self.metadata.file)
        yield from (other for other in contents.left_out if self.path / other.path != read)
        yield from contents.mount_points
        for relative in contents.ordered:
            yield from self._items_of(relative)
        if self._rows:
            yield from self._without_photo(self._rows)
            yield from self._rows.skipped

    def _items_of(self, relative: str) -> Iterator[SourceItem]:
        path = self.path / relative
        photo = SourcePhoto(path_text(relative), path)
        if self._rows is None:
            parent = relative.rpartition("/")[0]
            category = parent.rpartition("/")[2] or self._name
        elif (row_key := self._described.get(Path(relative))) is not None:
            yield from self._rows.items(row_key, photo.uri, (photo,))
            return
        else:
            category = ""
        name, remark = path_text(path.stem), "" if self._rows is None else NO_ROW
        yield SourceItem(photo.uri, name, path_text(category), (photo,), remark=remark)

    def _without_photo(self, rows: _MetadataRows) -> Iterator[SourceItem]:
        matched = set(self._described.values())
        for row_key in (key for key in rows.rows if key not in matched):
            for item in rows.items(row_key, row_key or "row without a key", ()):
                yield replace(item, without_photo=NO_PHOTO)

    @cached_property
    def _name(self) -> str:
        return self.path.resolve().name

    @cached_property
    def _contents(self) -> FolderContents:
        return walk(self.path)

    @cached_property
    def _rows(self) -> _MetadataRows | None:
        return _MetadataRows(self.path, self.metadata) if self.metadata else None

    @cached_property
    def _described(self) -> dict[Path, str]:
        """Path of a photo → the key of its row."""
        if self._rows is None:
            return {}
        rows, photos = self._rows.rows, self._contents.photos
        described = match_rows(rows.keys(), photos)
        free = rows.keys() - set(described.values())
        for photo in photos if self.row_paths and free else ():
            row_key = self.row_paths.get(path_text(photo))
            if photo not in described and row_key in free:
                described[photo] = row_key
                free.remove(row_key)
        return described


def _such_as(contents: FolderContents) -> str:
    """Say what is there instead of photos."""
    if not contents.left_out:
        return ""
    first, count = contents.left_out[0], len(contents.left_out)
    files = "1 file is" if count == 1 else f"{count:,} files are, such as"
    return f" ({files} left out: {first.path}: {first.reason})"


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
            category = levels[0] if levels else ""
            yield SourceItem(item, name, category, photos, metadata, row_key=row_key)
