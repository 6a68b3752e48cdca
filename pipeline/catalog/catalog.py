"""The catalog, which is the ledger: items, their images, and the state in which each ended.

One SQLite file. Every item offered by the source has a row and a named state with a reason, so
the counts of the states add up to the number of items offered. Ids are never reused: an item that
its source no longer offers stays, as `removed`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from pipeline.artifacts import write_atomic
from pipeline.catalog.generations import Generations
from pipeline.catalog.records import ImageRecord, ItemRecord, Photo, State

__all__ = ["Catalog", "ImageRecord", "ItemRecord", "Photo", "State"]

_COLUMNS = tuple(field.name for field in fields(ImageRecord))
_PUT_IMAGE = (
    f"INSERT INTO images (item, position, {', '.join(_COLUMNS)})"  # noqa: S608
    f" VALUES (:item, :position, :{', :'.join(_COLUMNS)}) ON CONFLICT (item, position) DO UPDATE"
    f" SET {', '.join(f'{column} = excluded.{column}' for column in _COLUMNS)}"
)


class Catalog(Generations):
    """The ledger in `folder/catalog.sqlite` and the stored photos in `folder/images/`.

    Items are written within a `transaction()`.

        with Catalog(Path("indexes/shop")) as catalog: hashes = [p.sha256 for p in catalog.photos()]
    """

    # --- items ---------------------------------------------------------------------------------

    def begin_ingest(self) -> int:
        """Forget what the last ingest skipped and left out; return the number of a new run.

        Until `finish_ingest`, the catalog mixes two runs, and `is_unfinished` is true.
        """
        self._db.execute("DELETE FROM skipped")
        self._db.execute("DELETE FROM left_out")
        self.set_meta("unfinished", "ingest")
        return self.new_run()

    def finish_ingest(self, run: int) -> int:
        """End a run; return how many items have been removed because it was not offered them."""
        self.set_meta("unfinished", None)
        return self.remove_others(run)

    @property
    def is_unfinished(self) -> bool:
        """Whether an ingest was begun and interrupted."""
        return self.get_meta("unfinished") is not None

    def new_run(self) -> int:
        """Return a number for an ingest run, greater than those of all runs before it."""
        return int(self._db.execute("SELECT COALESCE(MAX(run), 0) + 1 FROM items").fetchone()[0])

    def remove_others(self, run: int) -> int:
        """Mark every item that run `run` was not offered as removed; return how many are new."""
        self._db.execute(
            "UPDATE images SET state = 'removed', reason = '' WHERE item IN"
            " (SELECT id FROM items WHERE run <> ?)",
            (run,),
        )
        return self._db.execute(
            "UPDATE items SET state = 'removed', reason = 'no longer in the source'"
            " WHERE run <> ? AND state <> 'removed'",
            (run,),
        ).rowcount

    def put(
        self,
        run: int,
        key: str,
        name: str,
        category: str,
        metadata: Mapping[str, Any],
        images: Iterable[ImageRecord],
        without_photo: str = "no photo",
        remark: str = "",
    ) -> bool:
        """Insert an item, or update the item with this key, which keeps its id.

        Returns False, and changes nothing, if this run has put an item with this key already.
        `without_photo` is the reason to record if there are no images, `remark` that of an
        available item.
        """
        images = list(images)
        state, reason = _item_state(images, without_photo)
        reason = remark if state is State.AVAILABLE else reason
        row = (name, category, json.dumps(dict(metadata), sort_keys=True), state, reason, run, key)
        # Not an upsert: SQLite takes a new id for each, so a repeated run would change later ids.
        before = self._db.execute("SELECT id, run FROM items WHERE key = ?", (key,)).fetchone()
        if before and before["run"] == run:
            return False
        columns = "name, category, metadata, state, reason, run"
        if before:
            update = f"UPDATE items SET ({columns}) = (?, ?, ?, ?, ?, ?) WHERE key = ?"  # noqa: S608
            self._db.execute(update, row)
            item = before["id"]
        else:
            insert = f"INSERT INTO items ({columns}, key) VALUES (?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
            item = self._db.execute(insert, row).lastrowid
        self._db.execute("DELETE FROM images WHERE item = ? AND position >= ?", (item, len(images)))
        rows = ({**vars(image), "item": item, "position": i} for i, image in enumerate(images))
        self._db.executemany(_PUT_IMAGE, rows)
        return True

    def skip(self, row: int, reason: str, key: str = "") -> None:
        """Record that a row of the source describes no item, or none with a key of its own."""
        self._db.execute("INSERT INTO skipped VALUES (?, ?, ?)", (row, reason, key))

    def settle(self, items: Iterable[int]) -> None:
        """Give items the state that follows from the present states of their images."""
        for item in items:
            row = (*_item_state(self.images(item)), item)
            self._db.execute("UPDATE items SET state = ?, reason = ? WHERE id = ?", row)

    def counts(self) -> dict[str, dict[str, int]]:
        """Count rows of the source: state → reason → number.

        An available item has no reason, but a remark where there is something to say.
        """
        return self.count(
            "SELECT state, reason, COUNT(*) FROM items GROUP BY state, reason UNION ALL"
            " SELECT 'skipped', reason, COUNT(*) FROM skipped GROUP BY reason ORDER BY 1, 3 DESC, 2"
        )

    def images(self, item: int) -> list[ImageRecord]:
        """Return an item's images in their order."""
        query = f"SELECT {', '.join(_COLUMNS)} FROM images WHERE item = ? ORDER BY position"  # noqa: S608
        rows = self._db.execute(query, (item,))
        try:
            return [ImageRecord(row[0], State(row[1]), *row[2:]) for row in rows]
        except ValueError as error:
            raise self.damaged(f"an image of item {item}: {error}") from error

    def item(self, item: int) -> ItemRecord | None:
        """Return the item with this id, or None.

        Raises:
            DamagedArtifactError: its row is not as it was written.
        """
        return self._item("id = ?", item) if 0 < item < 2**63 else None

    def item_by_key(self, key: str) -> ItemRecord | None:
        """Return the item that its source calls `key`, or None."""
        return self._item("key = ?", key)

    def _item(self, condition: str, value: Any) -> ItemRecord | None:
        row = self._db.execute(
            f"SELECT id, key, name, category, metadata, state, reason FROM items WHERE {condition}",  # noqa: S608
            (value,),
        ).fetchone()
        if row is None:
            return None
        try:
            parsed = {"metadata": json.loads(row["metadata"]), "state": State(row["state"])}
        except ValueError as error:
            raise self.damaged(f"the row of item {row['id']}: {error}") from error
        return ItemRecord(**dict(row) | parsed)

    # --- photos --------------------------------------------------------------------------------

    def fail_photo(self, photo: Photo, reason: str) -> None:
        """Record that this photo's file could not be read after all.

        Other files of the same content stay available. A downloaded file is deleted and pending
        again; a file of the user stays failed until it is ingested again.
        """
        with self.transaction():
            images = self._db.execute(
                "UPDATE images SET state = IIF(tried_at IS NULL, 'failed', 'pending'),"
                " reason = IIF(tried_at IS NULL, ?, '') WHERE state = 'available'"
                " AND path = (SELECT path FROM images WHERE id = ?) RETURNING item, state",
                (reason, photo.id),
            ).fetchall()
            self.settle({item for item, _ in images})
            self.set_meta("version", None)  # so that the next ingest looks again
        if any(state == State.PENDING for _, state in images):
            photo.path.unlink(missing_ok=True)

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
        name = hashlib.sha256(data).hexdigest()
        relative = Path("images", name[:2], name + suffix)
        path = self.folder / relative
        if not path.is_file() or path.read_bytes() != data:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, data, aside=path.parent.parent, flush=flush)
        return str(relative)

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
            "SELECT id, sha256, path FROM images AS image WHERE state = 'available' AND id > :after"
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


def _among(items: Iterable[int] | None) -> tuple[str, dict[str, str]]:
    """A condition that images belong to these items, and its parameters."""
    if items is None:
        return "", {}
    return "AND item IN (SELECT value FROM json_each(:items))", {
        "items": json.dumps([int(item) for item in items])
    }


def _item_state(images: list[ImageRecord], without_photo: str = "no photo") -> tuple[State, str]:
    """The state and reason of an item, which follow from its images.

    It is available, or else pending, if any of its images is; else it ended as its first image did.
    """
    if not images:
        return State.FAILED, without_photo
    for state in (State.AVAILABLE, State.PENDING):
        if any(image.state is state for image in images):
            return state, ""
    return images[0].state, images[0].reason
