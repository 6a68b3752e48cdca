"""The catalog, which is the ledger: items, their images, and the state in which each ended.

One SQLite file. Every item offered by the source has a row and a named state with a reason, so
the counts of the states add up to the number of items offered. Ids are never reused: an item that
its source no longer offers stays, as `removed`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from pipeline.artifacts import write_atomic
from pipeline.catalog.column_store import MIN_ITEMS, ColumnStore
from pipeline.catalog.items import Items
from pipeline.catalog.records import ImageRecord, ItemRecord, Photo, State

__all__ = ["Catalog", "ImageRecord", "ItemRecord", "Photo", "State", "store_photo"]


class Catalog(Items):
    """The ledger in `folder/catalog.sqlite` and the stored photos in `folder/images/`.

    Items are written within a `transaction()`.

        with Catalog(Path("indexes/shop")) as catalog: hashes = [p.sha256 for p in catalog.photos()]
    """

    _columns: ColumnStore | None = None

    @property
    def columns(self) -> ColumnStore:
        """The columns of the items: of a generation they are read once."""
        if self._columns is None:
            if self._generation is None:
                return ColumnStore(self)
            self._columns = ColumnStore(self)
        return self._columns

    def keep_columns(self, folder: Path, min_items: int = MIN_ITEMS) -> None:
        """Have the columns of a generation kept in a folder, which belongs to it alone."""
        self._columns = ColumnStore(self, folder, min_items)

    def fail_photo(self, photo: Photo, reason: str) -> None:
        """Record that this photo's file could not be read after all: see `fail_photos`."""
        self.fail_photos([(photo, reason)])

    def fail_photos(self, photos: Iterable[tuple[Photo, str]]) -> None:
        """Record that files could not be read after all, and why: all of it is written, or nothing.

        Other files of the same content stay available. A downloaded file is deleted and pending
        again; a file of the user stays failed until it is ingested again.
        """
        lost = []
        with self.transaction():
            for photo, reason in photos:
                images = self._db.execute(
                    "UPDATE images SET state = IIF(tried_at IS NULL, 'failed', 'pending'),"
                    " reason = IIF(tried_at IS NULL, ?, '') WHERE state = 'available'"
                    " AND path = (SELECT path FROM images WHERE id = ?) RETURNING item, state",
                    (reason, photo.id),
                ).fetchall()
                self.settle({item for item, _ in images})
                if any(state == State.PENDING for _, state in images):
                    lost.append(photo.path)
            self.set_meta("version", None)  # so that the next ingest looks again
        for path in lost:
            path.unlink(missing_ok=True)

    def forget_files(self) -> None:
        """Have every photo judged again: files by the next ingest, refused downloads by a new one.

        A photo that was downloaded and accepted stays: the bytes that came are no longer there.
        """
        self._db.execute("UPDATE images SET mtime_ns = NULL")
        self._db.execute(
            "UPDATE images SET state = 'pending' WHERE state = 'rejected' AND tried_at IS NOT NULL"
        )

    def forget_file(self, path: Path) -> None:
        """Have the next ingest read this file of the user's anew, whatever its size and time."""
        self._db.execute("UPDATE images SET mtime_ns = NULL WHERE path = ?", (str(path),))
        self.set_meta("version", None)

    def store_photo(self, data: bytes, suffix: str, *, flush: bool = True) -> str:
        """Keep encoded bytes under the name of their content; return the path to record.

        Safe to call from many threads. Without `flush`, which takes longer than all the rest, a
        power cut may damage the file: whoever reads it compares the content with its name.
        """
        return store_photo(self.folder, data, suffix, flush=flush)

    def photo_count(self) -> int:
        """Count the distinct available photos."""
        query = "SELECT COUNT(DISTINCT sha256) FROM images WHERE state = 'available'"
        return int(self._db.execute(query).fetchone()[0])

    def photos(self, items: Iterable[int] | None = None) -> Iterator[Photo]:
        """Stream the distinct available photos in the order of the first image that shows each.

        With `items`, only those photos whose first image is one of theirs. The catalog may be
        written to while this is read.
        """
        folder = str(self.folder)
        among, parameters = _among(items)
        rows = self.select_pages(
            "SELECT id, sha256, path FROM images AS image WHERE state = 'available' AND id > :after"  # noqa: S608
            f" {among} AND NOT EXISTS (SELECT 1 FROM images WHERE sha256 = image.sha256"
            "                          AND id < image.id AND state = 'available')",
            parameters,
        )
        for image, sha256, path in rows:
            yield Photo(image, sha256, os.path.join(folder, path))  # noqa: PTH118

    def files(self) -> Iterator[tuple[Path, bytes]]:
        """Stream every available image's file and the SHA-256 that it should have."""
        for path, sha256 in self.select(
            "SELECT path, sha256 FROM images WHERE state = 'available'"
            " GROUP BY path, sha256 ORDER BY MIN(id)"
        ):
            yield self.folder / path, sha256

    def has_stored_photos(self) -> bool:
        """Whether every photo that ingest stored in `images/` is there with its size."""
        rows = self.select(
            "SELECT path, size FROM images"
            " WHERE state = 'available' AND path LIKE 'images/%' AND tried_at IS NULL"
        )
        files = ((self.folder / path, size) for path, size in rows)
        return all(file.is_file() and file.stat().st_size == size for file, size in files)

    def has_failed_files(self) -> bool:
        """Whether any photo that is in a file could not be read."""
        return any(
            self.select("SELECT 1 FROM images WHERE state = 'failed' AND tried_at IS NULL LIMIT 1")
        )

    def photo_item_pairs(self, items: Iterable[int] | None = None) -> Iterator[tuple[bytes, int]]:
        """Stream (photo's SHA-256, item id) for every available image, in the order of images.

        With `items`, only for theirs.
        """
        among, parameters = _among(items)
        query = f"SELECT sha256, item FROM images WHERE state = 'available' {among} ORDER BY id"  # noqa: S608
        yield from map(tuple, self.select(query, parameters))

    def photo_path(self, sha256: bytes, item: int | None = None) -> Path | None:
        """Return where a photo can be read; None if the ledger never had it.

        Available files go first, and among them the file of the given item.
        """
        return self._path(
            "sha256 = ? AND path IS NOT NULL ORDER BY state = 'available' DESC, item IS ? DESC, id",
            sha256,
            item,
        )

    def item_photo(self, item: int) -> Path | None:
        """Return the file of an item's first available image; None if it has none."""
        return self._path("item = ? AND state = 'available' ORDER BY position", item)

    def _path(self, condition: str, *values: bytes | int | None) -> Path | None:
        query = f"SELECT path FROM images WHERE {condition} LIMIT 1"  # noqa: S608
        row = self._db.execute(query, values).fetchone()
        return None if row is None else self.folder / row[0]


def store_photo(folder: Path, data: bytes, suffix: str, *, flush: bool = True) -> str:
    """Like `Catalog.store_photo`, in the folder of a catalog whose ledger need not be open."""
    name = hashlib.sha256(data).hexdigest()
    relative = Path("images", name[:2], name + suffix)
    path = folder / relative
    if not path.is_file() or path.read_bytes() != data:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, data, aside=path.parent.parent, flush=flush)
    return str(relative)


def _among(items: Iterable[int] | None) -> tuple[str, dict[str, str]]:
    """A condition that images belong to these items, and its parameters."""
    if items is None:
        return "", {}
    return "AND item IN (SELECT value FROM json_each(:items))", {
        "items": json.dumps([int(item) for item in items])
    }
