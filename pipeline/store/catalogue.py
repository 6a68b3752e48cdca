"""The catalogue, which is the ledger: items, their images, and the state each ended in.

One SQLite file. Every item offered by the source has a row and a named state with a reason, so
the counts of the states add up to the number of items offered. Ids are never reused: an item that
its source no longer offers stays, as `removed`.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from pipeline.errors import DamagedArtifactError, NotBuiltError
from pipeline.store.artifacts import write_atomic
from pipeline.store.records import ImageRecord, ItemRecord, Photo, State

__all__ = ["Catalogue", "ImageRecord", "ItemRecord", "Photo", "State"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS items (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    category TEXT NOT NULL,
    metadata TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    run INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS images (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    item INTEGER NOT NULL REFERENCES items,
    position INTEGER NOT NULL,
    uri TEXT NOT NULL,
    path TEXT,
    size INTEGER,
    mtime_ns INTEGER,
    sha256 BLOB,
    width INTEGER,
    height INTEGER,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    UNIQUE (item, position)
);
CREATE INDEX IF NOT EXISTS images_by_content ON images (sha256, id);
CREATE INDEX IF NOT EXISTS images_by_path ON images (path);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""

_PAGE = 1000  # photos read at a time, so that a catalogue of any size streams


class Catalogue:
    """The ledger in `folder/catalogue.sqlite` and the stored photos in `folder/images/`.

    Writers hold the folder's lock (`artifacts.lock`); readers never wait for them.
    """

    def __init__(self, folder: Path, *, create: bool = False, any_thread: bool = False) -> None:
        """Open the ledger; with `any_thread`, for reading from several threads.

        Raises:
            NotBuiltError: there is none, and `create` does not say to make it.
            DamagedArtifactError: the file is no catalogue.
        """
        self.folder = folder
        self.file = folder / "catalogue.sqlite"
        self._storing = threading.Lock()
        if create:
            folder.mkdir(parents=True, exist_ok=True)
        elif not self.file.is_file():
            raise NotBuiltError(f"{folder}: no catalogue here yet; run `imgsearch build`")
        try:
            self._db = sqlite3.connect(
                self.file, timeout=60, isolation_level=None, check_same_thread=not any_thread
            )
            self._db.row_factory = sqlite3.Row
            if create:
                self._db.execute("PRAGMA journal_mode = WAL")
                self._db.executescript(_SCHEMA)
            self._db.execute("SELECT id FROM items LIMIT 1").fetchall()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError) and "no such table" not in str(error):
                raise  # locked, or not allowed: nothing is wrong with the file
            raise DamagedArtifactError(
                f"{self.file}: damaged: {error}; delete it and run `imgsearch build`"
            ) from error

    def close(self) -> None:
        """Close the file; committed rows are safe without it too."""
        self._db.close()

    def __enter__(self) -> Catalogue:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- writing -------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start a transaction; what it writes is seen by readers at `commit`, or never."""
        self._db.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """End a transaction."""
        self._db.execute("COMMIT")

    def new_run(self) -> int:
        """Return a number for an ingest run, greater than those of all runs before it."""
        return int(self._db.execute("SELECT COALESCE(MAX(run), 0) + 1 FROM items").fetchone()[0])

    def put(
        self,
        run: int,
        key: str,
        name: str,
        category: str,
        metadata: Mapping[str, Any],
        images: Iterable[ImageRecord],
    ) -> None:
        """Insert an item, or update the one with this key, which keeps its id."""
        images = list(images)
        state, reason = _item_state(images)
        row = (name, category, json.dumps(dict(metadata), sort_keys=True), state, reason, run, key)
        # Not an upsert: SQLite takes a new id for each, so a repeated run would change later ids.
        known = self._db.execute(
            "UPDATE items SET name = ?, category = ?, metadata = ?, state = ?, reason = ?, run = ?"
            " WHERE key = ? RETURNING id",
            row,
        ).fetchone()
        item = (
            known[0]
            if known
            else self._db.execute(
                "INSERT INTO items (name, category, metadata, state, reason, run, key)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                row,
            ).lastrowid
        )
        self._db.execute("DELETE FROM images WHERE item = ? AND position >= ?", (item, len(images)))
        self._db.executemany(
            "INSERT INTO images (item, position, uri, path, size, mtime_ns, sha256, width, height,"
            " state, reason) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (item, position) DO UPDATE SET uri = excluded.uri, path = excluded.path,"
            " size = excluded.size, mtime_ns = excluded.mtime_ns, sha256 = excluded.sha256,"
            " width = excluded.width, height = excluded.height, state = excluded.state,"
            " reason = excluded.reason",
            [
                (
                    item,
                    position,
                    i.uri,
                    i.path,
                    i.size,
                    i.mtime_ns,
                    i.sha256,
                    i.width,
                    i.height,
                    i.state,
                    i.reason,
                )
                for position, i in enumerate(images)
            ],
        )

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

        Other files of the same content stay available.
        """
        self.begin()
        images = self._db.execute(
            "UPDATE images SET state = ?, reason = ? WHERE state = ? AND path ="
            " (SELECT path FROM images WHERE id = ?) RETURNING item",
            (State.FAILED, reason, State.AVAILABLE, photo.id),
        ).fetchall()
        for (item,) in images:
            state, reason = _item_state(self.images(item))
            self._db.execute(
                "UPDATE items SET state = ?, reason = ? WHERE id = ?", (state, reason, item)
            )
        self.set_fact("version", None)  # so that the next ingest looks again
        self.commit()

    def forget_files(self) -> None:
        """Have every photo read again by the next ingest."""
        self._db.execute("UPDATE images SET mtime_ns = NULL")

    def store_photo(self, data: bytes, suffix: str) -> str:
        """Keep encoded bytes under the name of their content; return the path to record."""
        name = hashlib.sha256(data).hexdigest()
        relative = Path("images", name[:2], name + suffix)
        path = self.folder / relative
        with self._storing:  # two items may bring the same photo at the same time
            if not path.is_file() or path.read_bytes() != data:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_atomic(path, data, aside=path.parent.parent)
        return str(relative)

    def set_fact(self, name: str, value: str | None) -> None:
        """Remember one text about the whole catalogue; `None` forgets it."""
        self._db.execute("DELETE FROM facts WHERE name = ?", (name,))
        if value is not None:
            self._db.execute("INSERT INTO facts VALUES (?, ?)", (name, value))

    # --- reading -------------------------------------------------------------------------------

    def fact(self, name: str) -> str | None:
        """Return a remembered text, or None."""
        row = self._db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def counts(self) -> dict[str, dict[str, int]]:
        """Count items: state → reason → number. An available item's reason is empty."""
        counts: dict[str, dict[str, int]] = {}
        for state, reason, count in self._db.execute(
            "SELECT state, reason, COUNT(*) FROM items GROUP BY state, reason ORDER BY 1, 3 DESC, 2"
        ):
            counts.setdefault(state, {})[reason] = count
        return counts

    def images(self, item: int) -> list[ImageRecord]:
        """Return an item's images in their order."""
        rows = self._db.execute(
            "SELECT uri, state, reason, path, size, mtime_ns, sha256, width, height"
            " FROM images WHERE item = ? ORDER BY position",
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

        The catalogue may be written to while this is read.
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
        """Whether every photo stored in `images/` is there with its size."""
        rows = self._db.execute(
            "SELECT path, size FROM images WHERE state = ? AND path LIKE 'images/%'",
            (State.AVAILABLE,),
        )
        files = ((self.folder / path, size) for path, size in rows)
        return all(file.is_file() and file.stat().st_size == size for file, size in files)

    def damage(self) -> str | None:
        """Say what SQLite finds wrong with the file, if anything."""
        try:
            found = str(self._db.execute("PRAGMA quick_check(1)").fetchone()[0])
        except sqlite3.DatabaseError as error:
            return str(error)
        return None if found == "ok" else found

    def showings(self) -> Iterator[tuple[bytes, int]]:
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


def _item_state(images: list[ImageRecord]) -> tuple[State, str]:
    """An item is available if any of its images is; else it ended as its first image did."""
    if not images:
        return State.FAILED, "no photo"
    best = next((image for image in images if image.state is State.AVAILABLE), images[0])
    return best.state, best.reason
