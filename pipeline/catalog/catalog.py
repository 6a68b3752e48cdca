"""The catalog, which is the ledger: items, their images, and the state each ended in.

One SQLite file. Every item offered by the source has a row and a named state with a reason, so
the counts of the states add up to the number of items offered. Ids are never reused: an item that
its source no longer offers stays, as `removed`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from typing import Any

from pipeline.artifacts import write_atomic
from pipeline.catalog.ledger import Ledger
from pipeline.catalog.records import ImageRecord, ItemRecord, Photo, State

__all__ = ["Catalog", "ImageRecord", "ItemRecord", "Photo", "State"]


_COLUMNS = ", ".join(field.name for field in fields(ImageRecord))
_PUT_IMAGE = (
    f"INSERT INTO images (item, position, {_COLUMNS})"  # noqa: S608
    f" VALUES (?, ?{', ?' * len(fields(ImageRecord))}) ON CONFLICT (item, position) DO UPDATE SET "
    + ", ".join(f"{field.name} = excluded.{field.name}" for field in fields(ImageRecord))
)
_PAGE = 1000  # photos read at a time, so that a catalog of any size streams


class Catalog(Ledger):
    """The ledger in `folder/catalog.sqlite` and the stored photos in `folder/images/`."""

    # --- writing -------------------------------------------------------------------------------

    def put(
        self,
        run: int,
        key: str,
        name: str,
        category: str,
        metadata: Mapping[str, Any],
        images: Iterable[ImageRecord],
        without_photo: str = "no photo",
    ) -> bool:
        """Insert an item, or update the one with this key, which keeps its id.

        Nothing happens, and the answer is False, if the run has put an item with this key already.
        """
        images = list(images)
        state, reason = item_state(images, without_photo)
        row = (name, category, json.dumps(dict(metadata), sort_keys=True), state, reason, run, key)
        # Not an upsert: SQLite takes a new id for each, so a repeated run would change later ids.
        known = self._db.execute("SELECT id, run FROM items WHERE key = ?", (key,)).fetchone()
        if known and known["run"] == run:
            return False
        if known:
            item = known["id"]
            self._db.execute(
                "UPDATE items SET name = ?, category = ?, metadata = ?, state = ?, reason = ?,"
                " run = ? WHERE key = ?",
                row,
            )
        else:
            item = self._db.execute(
                "INSERT INTO items (name, category, metadata, state, reason, run, key)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                row,
            ).lastrowid
        self._db.execute("DELETE FROM images WHERE item = ? AND position >= ?", (item, len(images)))
        self._db.executemany(
            _PUT_IMAGE, ((item, at, *_values(image)) for at, image in enumerate(images))
        )
        return True

    def skip(self, row: int, reason: str) -> None:
        """Record that a row of the source describes no item."""
        self._db.execute("INSERT INTO skipped VALUES (?, ?)", (row, reason))

    def begin_ingest(self) -> int:
        """Forget what the last ingest skipped; return a number greater than those of all others.

        Until `finish_ingest`, the catalog is that of no one run: `is_unfinished` says so.
        """
        self._db.execute("DELETE FROM skipped")
        self.set_meta("unfinished", "ingest")
        return self.new_run()

    def finish_ingest(self, run: int) -> int:
        """End a run; return how many items have been removed because it was not offered them."""
        self.set_meta("unfinished", None)
        return self.remove_others(run)

    def new_run(self) -> int:
        """Return a number for an ingest run, greater than those of all runs before it."""
        return int(self._db.execute("SELECT COALESCE(MAX(run), 0) + 1 FROM items").fetchone()[0])

    def remove_others(self, run: int) -> int:
        """Mark every item that run `run` was not offered as removed; return how many are new."""
        self._db.execute(
            "UPDATE images SET state = ?, reason = '' WHERE item IN"
            " (SELECT id FROM items WHERE run <> ?)",
            (State.REMOVED, run),
        )
        return self._db.execute(
            "UPDATE items SET state = ?, reason = 'no longer in the source'"
            " WHERE run <> ? AND state <> ?",
            (State.REMOVED, run, State.REMOVED),
        ).rowcount

    def fail_photo(self, photo: Photo, reason: str) -> None:
        """Record that this photo's file could not be read after all.

        Other files of the same content stay available. What was downloaded is removed, and pending
        again; what is the user's stays failed until it is ingested anew.
        """
        with self.transaction():
            images = self._db.execute(
                "UPDATE images SET state = CASE WHEN tried_at IS NULL THEN :failed ELSE :pending"
                " END, reason = CASE WHEN tried_at IS NULL THEN :reason ELSE '' END"
                " WHERE state = :available AND path = (SELECT path FROM images WHERE id = :image)"
                " RETURNING item, state",
                {
                    "failed": State.FAILED,
                    "pending": State.PENDING,
                    "available": State.AVAILABLE,
                    "reason": reason,
                    "image": photo.id,
                },
            ).fetchall()
            self.settle({item for item, _ in images})
            self.set_meta("version", None)  # so that the next ingest looks again
        if any(state == State.PENDING for _, state in images):
            photo.path.unlink(missing_ok=True)

    def settle(self, items: Iterable[int]) -> None:
        """Give items the state that their images, of which there are some, have now."""
        for item in items:
            state, reason = item_state(self.images(item))
            self._db.execute(
                "UPDATE items SET state = ?, reason = ? WHERE id = ?", (state, reason, item)
            )

    def forget_files(self) -> None:
        """Have every photo judged again: files by the next ingest, refused downloads by a new one.

        A photo that was downloaded and accepted stays: what came is no longer there to judge.
        """
        self._db.execute("UPDATE images SET mtime_ns = NULL")
        self._db.execute(
            "UPDATE images SET state = ? WHERE state = ? AND tried_at IS NOT NULL",
            (State.PENDING, State.REJECTED),
        )

    def store_photo(self, data: bytes, suffix: str, *, flush: bool = True) -> str:
        """Keep encoded bytes under the name of their content; return the path to record.

        Safe to call from many threads. Without `flush`, which takes longer than all the rest, a
        power cut may spoil the file: whoever reads it compares the content with its name.
        """
        name = hashlib.sha256(data).hexdigest()
        relative = Path("images", name[:2], name + suffix)
        path = self.folder / relative
        if not path.is_file() or path.read_bytes() != data:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, data, aside=path.parent.parent, flush=flush)
        return str(relative)

    # --- reading -------------------------------------------------------------------------------

    @property
    def is_unfinished(self) -> bool:
        """Whether an ingest was begun and broken off."""
        return self.get_meta("unfinished") is not None

    def counts(self) -> dict[str, dict[str, int]]:
        """Count rows of the source: state → reason → number. An available item has no reason."""
        return self.count(
            "SELECT state, reason, COUNT(*) FROM items GROUP BY state, reason UNION ALL"
            " SELECT :skipped, reason, COUNT(*) FROM skipped GROUP BY reason ORDER BY 1, 3 DESC, 2",
            {"skipped": State.SKIPPED},
        )

    def images(self, item: int) -> list[ImageRecord]:
        """Return an item's images in their order."""
        rows = self._db.execute(
            f"SELECT {_COLUMNS} FROM images WHERE item = ? ORDER BY position",  # noqa: S608
            (item,),
        )
        return [ImageRecord(row[0], State(row[1]), *row[2:]) for row in rows]

    def item(self, item: int) -> ItemRecord | None:
        """Return the item with this id."""
        return self._item("id = ?", item) if 0 < item < 2**63 else None

    def item_by_key(self, key: str) -> ItemRecord | None:
        """Return the item that its source calls `key`."""
        return self._item("key = ?", key)

    def photo_count(self) -> int:
        """Count the distinct available photos."""
        return int(
            self._db.execute(
                "SELECT COUNT(DISTINCT sha256) FROM images WHERE state = ?", (State.AVAILABLE,)
            ).fetchone()[0]
        )

    def photos(self) -> Iterator[Photo]:
        """Stream the distinct available photos in the order of the first image that shows each.

        The catalog may be written to while this is read.
        """
        after, folder = 0, str(self.folder)
        while True:
            page = self._db.execute(
                "SELECT id, sha256, path FROM images AS image WHERE state = :state AND id > :after"
                " AND NOT EXISTS (SELECT 1 FROM images WHERE sha256 = image.sha256"
                "                 AND id < image.id AND state = :state)"
                " ORDER BY id LIMIT :page",
                {"state": State.AVAILABLE, "after": after, "page": _PAGE},
            ).fetchall()
            for row in page:
                yield Photo(row["id"], row["sha256"], os.path.join(folder, row["path"]))  # noqa: PTH118
            if len(page) < _PAGE:
                return
            after = page[-1]["id"]

    def files(self) -> Iterator[tuple[Path, bytes]]:
        """Stream every available image's file and the SHA-256 that it should have."""
        query = (
            "SELECT path, sha256 FROM images WHERE state = ? GROUP BY path, sha256 ORDER BY MIN(id)"
        )
        with closing(self._db.execute(query, (State.AVAILABLE,))) as rows:
            for path, sha256 in rows:
                yield self.folder / path, sha256

    def has_stored_photos(self) -> bool:
        """Whether every photo that ingest stored in `images/` is there with its size."""
        rows = self._db.execute(
            "SELECT path, size FROM images"
            " WHERE state = ? AND path LIKE 'images/%' AND tried_at IS NULL",
            (State.AVAILABLE,),
        )
        files = ((self.folder / path, size) for path, size in rows)
        return all(file.is_file() and file.stat().st_size == size for file, size in files)

    def photo_item_pairs(self) -> Iterator[tuple[bytes, int]]:
        """Stream (photo's SHA-256, item id) for every available image, in the order of images."""
        query = "SELECT sha256, item FROM images WHERE state = ? ORDER BY id"
        with closing(self._db.execute(query, (State.AVAILABLE,))) as rows:
            yield from map(tuple, rows)

    def photo_path(self, sha256: bytes, item: int | None = None) -> Path | None:
        """Return where a photo can be read, preferring the given item's own file."""
        row = self._db.execute(
            "SELECT path FROM images WHERE sha256 = ? AND path IS NOT NULL"
            " ORDER BY item IS ? DESC, id LIMIT 1",
            (sha256, item),
        ).fetchone()
        return None if row is None else self.folder / row[0]

    def item_photo(self, item: int) -> Path | None:
        """Return the file of an item's first available image; None if it has none."""
        row = self._db.execute(
            "SELECT path FROM images WHERE item = ? AND state = ? ORDER BY position LIMIT 1",
            (item, State.AVAILABLE),
        ).fetchone()
        return None if row is None else self.folder / row[0]

    def _item(self, condition: str, value: Any) -> ItemRecord | None:
        row = self._db.execute(
            f"SELECT id, key, name, category, metadata, state, reason FROM items WHERE {condition}",  # noqa: S608
            (value,),
        ).fetchone()
        if row is None:
            return None
        metadata = json.loads(row["metadata"])
        return ItemRecord(
            row["id"],
            row["key"],
            row["name"],
            row["category"],
            metadata,
            State(row["state"]),
            row["reason"],
        )


def item_state(images: list[ImageRecord], without_photo: str = "no photo") -> tuple[State, str]:
    """An item is available, or pending, if any of its images is; else it ended as its first did."""
    if not images:
        return State.FAILED, without_photo
    for state in (State.AVAILABLE, State.PENDING):
        if any(image.state is state for image in images):
            return state, ""
    return images[0].state, images[0].reason


def _values(image: ImageRecord) -> list[Any]:
    return [getattr(image, field.name) for field in fields(ImageRecord)]
