"""Photos that were renamed or moved: their items follow them, with their ids.

A source that names its items by the paths of their photos, as a folder does, offers a renamed photo
as an item that it never had. Where its content is gone from one path and at another within one
look, it is the same item. Which photo a row of metadata describes, the row itself says before all:
an item that a row still describes by its name is not moved.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from pipeline import images
from pipeline.catalog.catalog import Catalog
from pipeline.catalog.inspector import file_times
from pipeline.catalog.photos import PHOTOS_FAULT
from pipeline.errors import RejectedImage
from pipeline.images import ImageLimits
from pipeline.sources.base import NO_ROW, PhotoFolder, Source, SourceItem


@dataclass(frozen=True)
class Place:
    """Where the photo of an item is that is offered, and that the ledger may not have there."""

    key: str  # of the item
    row_key: str | None  # of the row of metadata that describes it
    is_absent: bool  # there is no photo, or no file of it
    uri: str | None = None
    path: str | None = None  # None if it is in no file
    size: int | None = None  # None unless the item is named by the path of its photo
    mtime_ns: int | None = None
    ctime_ns: int | None = None
    sha256: bytes | None = None  # of a file: once it is read

    @classmethod
    def of(cls, item: SourceItem) -> Place:
        """Return where an item's only photo is, if the item is named by its path."""
        files = [photo.path for photo in item.photos if photo.path and photo.data is None]
        statuses = list(filter(None, map(_status, files)))
        is_absent = not statuses and len(files) == len(item.photos)
        nowhere = cls(item.key, item.row_key, is_absent)
        if len(item.photos) != 1 or not _is_named_by(item.key, item.photos[0].uri):
            return nowhere
        (photo,) = item.photos
        if photo.data is not None:
            sha256 = hashlib.sha256(photo.data).digest()
            return replace(nowhere, uri=photo.uri, size=len(photo.data), sha256=sha256)
        if not statuses:
            return nowhere
        (mtime_ns, ctime_ns), size = file_times(statuses[0]), statuses[0].st_size
        place = replace(nowhere, uri=photo.uri, path=str(files[0].absolute()), size=size)
        return replace(place, mtime_ns=mtime_ns, ctime_ns=ctime_ns)


@dataclass(frozen=True)
class Loose:
    """An item whose photo is not where the ledger has it."""

    id: int
    key: str
    uri: str
    size: int
    mtime_ns: int | None
    sha256: bytes
    has_row: bool  # a row of metadata described it, if there are any
    is_offered: bool
    is_missing: bool  # it is not offered, or without a photo


@dataclass(frozen=True)
class Move:
    """An item, and where its photo is now."""

    item: Loose
    place: Place


_LIKENESS: tuple[Callable[[Place | Loose], Hashable], ...] = (
    lambda photo: (PurePath(photo.key).name, photo.mtime_ns),
    lambda photo: PurePath(photo.key).name,
    lambda photo: photo.mtime_ns,
    lambda _photo: None,
)
"""What tells copies of a photo from each other, the most telling first; then their order does."""

_PLACES = """
SELECT key, row_key, is_absent, uri, path, size, mtime_ns, ctime_ns, sha256 FROM places
WHERE size IN (SELECT size FROM ({loose})) AND (row_key IS NULL OR NOT EXISTS
    (SELECT 1 FROM items WHERE items.key = places.key AND state <> 'removed'))
ORDER BY rowid
"""
_LOOSE = f"""
SELECT items.id, items.key, uri, size, mtime_ns, sha256, items.reason <> '{NO_ROW}' AS has_row,
    EXISTS (SELECT 1 FROM offered WHERE offered.key = items.key) AS is_offered,
    NOT EXISTS (SELECT 1 FROM places WHERE places.key = items.key AND NOT is_absent) AS is_missing
FROM items JOIN images ON item = items.id AND position = 0
WHERE items.state = 'available' AND images.state = 'available'
    AND NOT EXISTS (SELECT 1 FROM images AS second WHERE item = items.id AND position = 1)
    AND (items.key = uri OR substr(items.key, 1, length(uri) + 1) = uri || '#')
    AND (NOT EXISTS (SELECT 1 FROM offered WHERE offered.key = items.key) OR EXISTS
        (SELECT 1 FROM places WHERE places.key = items.key AND (is_absent OR row_key IS NULL)))
ORDER BY is_offered, items.id
"""  # noqa: S608
_FREE_KEY = "UPDATE items SET key = key || '//' || id WHERE {}"
_MOVE_IMAGE = (
    "UPDATE images SET uri = :uri, path = COALESCE(:path, path),"
    " mtime_ns = :mtime_ns, ctime_ns = :ctime_ns WHERE item = :id"
)


def find_moves(catalog: Catalog, limits: ImageLimits) -> list[Move]:
    """Return which items' photos are elsewhere now, after a look at all that is offered.

    Only files of the size of a photo that is not where it was are read, within `limits`. Where
    copies of one photo moved, each goes to the place most like its own, by name and time, then by
    order.
    """
    places = [
        found
        for row in list(catalog.select(_PLACES.format(loose=_LOOSE)))
        if (found := _with_content(Place(*row), limits))
    ]
    loose = [Loose(*row) for row in catalog.select(_LOOSE)] if places else []
    content = {item.key: item.sha256 for item in loose}
    touched = {place.key for place in places if content.get(place.key) == place.sha256}
    moves = _paired(
        [item for item in loose if item.key not in touched],
        [place for place in places if place.key not in touched],
    )
    return [*moves, *_further_rows(moves, loose)]


def _status(path: Path) -> os.stat_result | None:
    """Look at a file; None if it is not there, or cannot be an available photo."""
    try:
        str(path).encode()  # on Linux a file name may be any bytes
        return path.stat()
    except (OSError, UnicodeEncodeError):
        return None


def _is_named_by(key: str, uri: str) -> bool:
    return key == uri or key.startswith(f"{uri}#")


def _with_content(place: Place, limits: ImageLimits) -> Place | None:
    """Add the SHA-256 of the photo's file; None if it cannot be read, as inspecting it will tell.

    Raises:
        OSError: of the disk, or of this process, rather than of one file.
    """
    if place.path is None:
        return place
    try:
        data = images.read_bytes(Path(place.path), limits)
    except RejectedImage:
        return None
    except OSError as error:
        if error.errno not in PHOTOS_FAULT:
            raise
        return None
    return replace(place, sha256=hashlib.sha256(data).digest())


def _paired(loose: list[Loose], places: list[Place]) -> list[Move]:
    """Give each item the place of its content that is most like its own; neither is used twice."""
    moves: dict[int, Move] = {}
    taken: set[str] = set()
    for likeness in _LIKENESS:
        free: defaultdict[Hashable, deque[Place]] = defaultdict(deque)
        for place in places:
            if place.key not in taken:
                free[place.sha256, likeness(place), place.row_key is None].append(place)
        for item in loose:
            # An item that is offered has its own row, or none: it takes no other's.
            kinds = (True,) if item.is_offered else (True, False)
            fitting = (free[item.sha256, likeness(item), kind] for kind in kinds)
            if item.id not in moves and (places_left := next(filter(None, fitting), None)):
                moves[item.id] = Move(item, places_left.popleft())
                taken.add(moves[item.id].place.key)
    return list(moves.values())


def _further_rows(moves: list[Move], loose: list[Loose]) -> Iterator[Move]:
    """Yield the moves of the other items that show the same photo: `a.jpg#2` goes with `a.jpg`."""
    moved = {move.item.id for move in moves}
    by_uri = {move.item.uri: move.place for move in moves if move.place.row_key is None}
    for item in loose:
        if item.id not in moved and item.key != item.uri and (place := by_uri.get(item.uri)):
            yield Move(item, replace(place, key=f"{place.uri}{item.key.removeprefix(item.uri)}"))


def move_items(catalog: Catalog, moves: Iterable[Move]) -> None:
    """Give items the keys and files of where their photos are now, within a transaction.

    Whatever had such a key, and does not move itself, keeps its id under a key that no file has.
    """
    moves = list(moves)
    for move in moves:
        catalog.change(_FREE_KEY.format("id = :id"), {"id": move.item.id})
    for move in moves:
        place = {**vars(move.place), "id": move.item.id}
        catalog.change(_FREE_KEY.format("key = :key"), place)
        catalog.change("UPDATE items SET key = :key WHERE id = :id", place)
        catalog.change(_MOVE_IMAGE, place)


def with_remembered_rows(source: Source, catalog: Catalog) -> Source:
    """Return the source, told which rows described photos before these were renamed."""
    if not isinstance(source, PhotoFolder):
        return source
    return source.with_rows(dict(map(tuple, catalog.select("SELECT path, row_key FROM row_paths"))))


def remember_rows(source: Source, catalog: Catalog, moves: Iterable[Move]) -> None:
    """Remember, within a transaction, which rows describe the photos that have moved."""
    if not isinstance(source, PhotoFolder):
        return
    described = {
        move.item.uri: move.place.uri
        for move in moves
        if move.item.has_row and move.place.row_key is None and move.item.key == move.item.uri
    }
    for old, row_key in source.rows_of(described).items():
        row = {"old": old, "path": described[old], "row_key": row_key}
        catalog.change("DELETE FROM row_paths WHERE path = :old OR row_key = :row_key", row)
        catalog.change("INSERT OR REPLACE INTO row_paths VALUES (:path, :row_key)", row)
