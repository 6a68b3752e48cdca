"""What a source is: where items come from."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from pipeline.errors import SourceError

NO_ROW = "no row describes it"
"""The remark on an item whose photo no row of the metadata names."""
NO_PHOTO = "no photo of this name"
"""Why an item is without a photo that is a row of the metadata."""

Metadata = Mapping[str, Any]
"""Column → text, number or None; or, parsed from structured text, lists and mappings of them."""


@dataclass(frozen=True)
class SourcePhoto:
    """One image of an item: in a file, as encoded bytes, or, with neither, at the URL `uri`."""

    uri: str  # a path, a URL, or a name such as `shirts/0003.jpg`; what people are shown
    path: Path | None = None  # a file on this machine, which is never moved
    data: bytes | None = None  # the encoded image itself, which ingest stores in the catalog


@dataclass(frozen=True)
class SourceItem:
    """One product as its source describes it."""

    key: str  # the source's identifier; of several items with the same key, only the first counts
    name: str
    category: str
    photos: tuple[SourcePhoto, ...]
    metadata: Metadata = field(default_factory=dict)
    row: int = 0  # in a table, counted from 1 below the heading; 0 if it is in none
    without_photo: str = "no photo"  # the reason to give if `photos` is empty
    remark: str = ""  # what there is to say although a photo is available
    row_key: str | None = None  # what names its photo in the row of metadata that describes it


@dataclass(frozen=True)
class Skipped:
    """A row of a table that describes no item, and why."""

    row: int
    reason: str


@dataclass(frozen=True)
class LeftOut:
    """A file or folder below the source's that is no photo, or was not looked at, and why."""

    path: str  # below the source's folder
    kind: str  # as what to count it: its suffix, or file, folder, link
    reason: str
    is_unread: bool = False  # it may be a photo, or hold some: items there stay as they are


@dataclass(frozen=True)
class MountPoint:
    """A folder below the source's at which another file system is mounted, or may have been."""

    path: str  # below the source's folder
    is_mounted: bool  # if not, the folder is empty


Offer = SourceItem | Skipped | LeftOut | MountPoint


class Source(Protocol):
    """Yields the items of a catalog, in the same order on every machine."""

    @property
    def version(self) -> str | None:
        """Identifies all items and their content, if that is possible without reading them."""

    @property
    def total(self) -> int | None:
        """The number of items, if it is known before they are read; raises as `items` does."""

    def items(self) -> Iterator[Offer]:
        """Yield what was found and is left out, every item, and every row that describes none.

        Once more, it yields the same again, unless the source has changed meanwhile.

        Raises:
            SourceError: the source cannot be read.
        """


@runtime_checkable
class PhotoFolder(Source, Protocol):
    """A source whose items are named by the paths of their photos below a folder."""

    @property
    def path(self) -> Path:
        """The folder."""

    def with_rows(self, rows: Mapping[str, str]) -> PhotoFolder:
        """Return the folder as it was listed, told of rows whose photos were renamed.

        `rows` maps paths of photos to the keys of rows; each counts if nothing else matches either.
        """

    def rows_of(self, paths: Collection[str]) -> dict[str, str]:
        """Return, by path, the keys of rows that describe photos which are there no more."""


def check_regular(path: Path) -> None:
    """Refuse a FIFO or a device in the place of a table: it may have no end.

    Raises:
        SourceError: it is one.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise SourceError("not a regular file", where=path, hint="copy its content to a file")
