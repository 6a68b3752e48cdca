"""The SQLite file of a catalog: its tables, its transactions, and how it is queried."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, Self

from pipeline.artifacts import damaged, remove
from pipeline.catalog import ledger_copy
from pipeline.catalog.history import HISTORY_SCHEMA, NEW_COLUMN
from pipeline.catalog.ledger_blocks import held
from pipeline.catalog.ledger_opening import in_memory, open_for_reading, open_for_writing
from pipeline.catalog.records import State
from pipeline.errors import DamagedArtifactError, NotBuiltError

Rows = Iterator[sqlite3.Row]
PAGE_SIZE = 1000  # rows that `select_pages` reads at a time

_VERSION = 3
_NEW_COLUMNS = {  # since the first version
    "images": "status INTEGER, attempts INTEGER NOT NULL DEFAULT 0, tried_at TEXT, seconds REAL, "
    f"ctime_ns INTEGER, {NEW_COLUMN}",
    "items": NEW_COLUMN,
    "skipped": "key TEXT NOT NULL DEFAULT ''",
}
_DROPPED_COLUMNS = {"items": "run", "mount_points": "run"}
CONTENT_INDEX = "CREATE INDEX IF NOT EXISTS images_by_sha256 ON images (sha256, state, since)"
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS items (
    id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL, category TEXT NOT NULL, metadata TEXT NOT NULL,
    state TEXT NOT NULL, reason TEXT NOT NULL, {_NEW_COLUMNS["items"]}
);
CREATE TABLE IF NOT EXISTS images (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    item INTEGER NOT NULL REFERENCES items, position INTEGER NOT NULL, uri TEXT NOT NULL,
    path TEXT, size INTEGER, mtime_ns INTEGER, sha256 BLOB, width INTEGER, height INTEGER,
    state TEXT NOT NULL, reason TEXT NOT NULL, {_NEW_COLUMNS["images"]},
    UNIQUE (item, position)
);
DROP INDEX IF EXISTS images_by_content;
DROP INDEX IF EXISTS images_by_photo;
{CONTENT_INDEX};
CREATE INDEX IF NOT EXISTS images_by_path ON images (path);
CREATE INDEX IF NOT EXISTS images_by_uri ON images (uri, state);
CREATE TABLE IF NOT EXISTS downloads (
    uri TEXT PRIMARY KEY, path TEXT NOT NULL, size INTEGER NOT NULL, sha256 BLOB NOT NULL,
    width INTEGER NOT NULL, height INTEGER NOT NULL,
    status INTEGER, tried_at TEXT NOT NULL, seconds REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS skipped (
    row INTEGER NOT NULL, reason TEXT NOT NULL, {_NEW_COLUMNS["skipped"]}
);
CREATE TABLE IF NOT EXISTS left_out (
    path TEXT NOT NULL, kind TEXT NOT NULL, reason TEXT NOT NULL, is_unread INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS left_out_unread ON left_out (path) WHERE is_unread;
CREATE TABLE IF NOT EXISTS mount_points (path TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS row_paths (path TEXT PRIMARY KEY, row_key TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
{HISTORY_SCHEMA}
PRAGMA user_version = {_VERSION};
"""
_STATES = ", ".join(f"'{state}'" for state in State)
# SQLite holds whatever text it finds in its pages.
_DAMAGED_ITEM = f"""
SELECT id FROM items WHERE state NOT IN ({_STATES})
    OR CASE WHEN json_valid(metadata) THEN json_type(metadata) <> 'object' ELSE 1 END
UNION ALL SELECT item FROM images WHERE state NOT IN ({_STATES}) LIMIT 1
"""  # noqa: S608


class Ledger:
    """`folder/catalog.sqlite`. Writers hold the folder's lock; readers never wait for them."""

    def __init__(
        self,
        folder: Path,
        *,
        create: bool = False,
        any_thread: bool = False,
        page_size: int = PAGE_SIZE,
    ) -> None:
        """Open the ledger; with `any_thread`, for reading from several threads.

        Raises:
            NotBuiltError: there is none, and `create` is not set.
            DamagedArtifactError: the file is no catalog.
        """
        self.folder = folder
        self.file = folder / "catalog.sqlite"
        self.page_size = page_size
        if create:
            folder.mkdir(parents=True, exist_ok=True)
        self._opened = ExitStack()
        try:
            self._open(create=create, any_thread=any_thread)
        except BaseException:
            self.close()
            raise

    def _open(self, *, create: bool, any_thread: bool) -> None:
        if os.path.lexists(self.file):
            self._opened.enter_context(held(self.file))  # SQLite would wait for a FIFO
            if not create:  # else `writing` has checked it
                ledger_copy.check(self.folder)
        elif create:
            for suffix in ("-wal", "-shm", "-journal"):  # of a ledger that was deleted
                remove(self.folder / f"{self.file.name}{suffix}")
        else:
            hint = "run `imgsearch build`"
            raise NotBuiltError("no catalog here yet", where=self.folder, hint=hint)
        try:
            database = self._connected(create=create, any_thread=any_thread)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError) and "no such table" not in str(error):
                raise  # locked, or not allowed: nothing is wrong with the file
            raise self.damaged(str(error)) from error
        self._db = self._opened.enter_context(closing(database))

    def _connected(self, *, create: bool, any_thread: bool) -> sqlite3.Connection:
        if create:
            database = open_for_writing(self.file)
            self._opened.enter_context(held(self.file))
            _migrate(database)
            return database
        database = open_for_reading(self.folder, any_thread=any_thread)
        database.execute("SELECT id FROM items LIMIT 1").fetchall()
        if _version(database) < _VERSION:  # only whoever writes may change the file
            with closing(database) as earlier:
                database = in_memory(earlier, any_thread=any_thread)
            _migrate(database)
        return database

    def close(self) -> None:
        """Close the file; committed rows are safe without it too."""
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Write atomically: readers see all that the block wrote once it ends, or nothing of it."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:  # a full disk may have ended it already
                self._db.execute("ROLLBACK")
            raise

    @contextmanager
    def fast_commits(self) -> Iterator[None]:
        """Let commits not wait for the disk: a kill loses none of them, a power cut the last ones.

        Not for writing that gives out ids: after a power cut they would be given out twice.
        """
        self._db.execute("PRAGMA synchronous = NORMAL")
        try:
            yield
        finally:
            self._db.execute("PRAGMA synchronous = FULL")

    def set_meta(self, name: str, value: str | None) -> None:
        """Store a text about the whole catalog under a name, unless it is; `None` removes it."""
        if self.get_meta(name) == value:
            return
        self._db.execute("DELETE FROM meta WHERE name = ?", (name,))
        if value is not None:
            self._db.execute("INSERT INTO meta VALUES (?, ?)", (name, value))

    def get_meta(self, name: str) -> str | None:
        """Return the text stored under a name, or None."""
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def select(self, query: str, parameters: Mapping[str, Any] | None = None) -> Rows:
        """Stream the rows of an SQL query.

        catalog.select("SELECT id FROM items WHERE state = :state", {"state": State.FAILED})
        """
        with closing(self._db.execute(query, parameters or {})) as rows:
            yield from rows

    def select_pages(self, query: str, parameters: Mapping[str, Any], limit: int = 0) -> Rows:
        """Stream rows by ascending id, a page at a time, so the ledger may be written to meanwhile.

        The query selects a column `id`, and its WHERE clause contains `id > :after`.
        """
        values = {**parameters, "after": 0, "limit": limit or self.page_size}
        while True:
            page = self._db.execute(f"{query} ORDER BY id LIMIT :limit", values).fetchall()
            yield from page
            if len(page) < values["limit"]:
                return
            values["after"] = page[-1]["id"]

    def count(self, query: str) -> dict[str, dict[str, int]]:
        """Nest the rows of a query that gives (state, reason, number): state → reason → number."""
        counts: dict[str, dict[str, int]] = {}
        for state, reason, count in self._db.execute(query):
            counts.setdefault(state, {})[reason] = count
        return counts

    def change(self, statement: str, parameters: Mapping[str, Any] | None = None) -> int:
        """Run a statement within a transaction; return how many rows it changed."""
        return self._db.execute(statement, parameters or {}).rowcount

    def damage(self) -> str | None:
        """Return what SQLite finds wrong with the file, its indexes included; None if nothing."""
        try:
            answer = str(self._db.execute("PRAGMA integrity_check(1)").fetchone()[0])
            item = self._db.execute(_DAMAGED_ITEM).fetchone()
        except sqlite3.DatabaseError as error:
            return str(error)
        if answer != "ok":
            return answer
        return f"the row of item {item[0]} is not as it was written" if item else None

    def damaged(self, what: str) -> DamagedArtifactError:
        """Return the error that says what is wrong with the file, for the caller to raise."""
        return damaged(self.file, what, remove=self.file)


def _version(database: sqlite3.Connection) -> int:
    return int(database.execute("PRAGMA user_version").fetchone()[0])


def _migrate(database: sqlite3.Connection) -> None:
    """Add what a file of an earlier version or a killed ingest lacks, drop what it has besides."""
    if _version(database) < _VERSION:
        for table, columns in _NEW_COLUMNS.items():
            existing = {row["name"] for row in database.execute(f"PRAGMA table_info({table})")}
            for column in columns.split(", ") if existing else ():
                if column.split()[0] not in existing:
                    database.execute(f"ALTER TABLE {table} ADD COLUMN {column}")
        for table, column in _DROPPED_COLUMNS.items():
            if column in {row["name"] for row in database.execute(f"PRAGMA table_info({table})")}:
                database.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        database.executescript(_SCHEMA)
    database.execute(CONTENT_INDEX)
