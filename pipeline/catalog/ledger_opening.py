"""How the file of the ledger is opened: for writing, or for reading, also where none may write."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from pipeline.catalog import ledger_blocks, ledger_copy
from pipeline.catalog.shared_connection import SharedConnection
from pipeline.catalog.word_index import WORD_FUNCTIONS
from pipeline.config.schema import LEDGER
from pipeline.errors import NotBuiltError

Connection = sqlite3.Connection
_TIMEOUT = 60  # seconds to wait for whoever writes


def open_for_writing(file: Path) -> Connection:
    """Open the ledger, which is made if need be, by the one process that may write it.

    Raises:
        sqlite3.DatabaseError: it is no SQLite file, or cannot be opened.
    """
    database = _connect(file.absolute().as_uri(), any_thread=False)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute(f"PRAGMA wal_autocheckpoint = {ledger_blocks.LOG_PAGES}")
    return database


def open_for_reading(folder: Path, *, any_thread: bool = False) -> Connection:
    """Open the ledger without changing it; whoever writes it meanwhile is not waited for.

    Where this process may not write, or the disk is full, SQLite cannot keep others from writing to
    what it reads, so that a copy in memory is read, unless someone is writing now and has made what
    SQLite needs.

    Raises:
        NotBuiltError: what was written last is in a file that SQLite cannot read here.
        sqlite3.DatabaseError: it is no SQLite file, or cannot be opened.
    """
    file = folder / LEDGER
    if os.access(folder, os.W_OK) and os.access(file, os.W_OK):
        try:
            return _opened(file.absolute().as_uri(), any_thread=any_thread)
        except sqlite3.OperationalError as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
            if code not in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL):
                raise
    while _has_log(file):
        try:
            return _opened(f"{file.absolute().as_uri()}?mode=ro", any_thread=any_thread)
        except sqlite3.OperationalError as error:
            if _has_log(file):  # else it was finished just now
                message = "a run was broken off here, and its end can be read by its owner only"
                hint = "let the owner run `imgsearch build`"
                raise NotBuiltError(message, where=folder, hint=hint) from error
    return _unchanged_copy(folder, any_thread=any_thread)


def _opened(uri: str, *, any_thread: bool) -> Connection:
    """Open a ledger, and what SQLite needs beside it to read."""
    database = _connect(uri, any_thread=any_thread)
    try:
        database.execute("SELECT * FROM sqlite_master LIMIT 1").fetchall()
    except BaseException:
        database.close()
        raise
    return database


def _unchanged_copy(folder: Path, *, any_thread: bool) -> Connection:
    file = folder / LEDGER
    while True:
        before = _state(file)
        with closing(
            sqlite3.connect(f"{file.absolute().as_uri()}?immutable=1", uri=True)
        ) as source:
            ledger_copy.check(folder)
            database = in_memory(source, any_thread=any_thread)
        if _state(file) == before:
            return database
        database.close()


def in_memory(source: Connection, *, any_thread: bool = False) -> Connection:
    """Return a copy of a ledger in memory."""
    database = _connect(":memory:", any_thread=any_thread)
    source.backup(database)
    return database


def _has_log(file: Path) -> bool:
    log = file.with_name(f"{file.name}-wal")
    return log.exists() and log.stat().st_size > 0


def _state(file: Path) -> tuple[int | bool, ...]:
    status = file.stat()
    times = (status.st_mtime_ns, status.st_ctime_ns)
    return (status.st_dev, status.st_ino, status.st_size, *times, _has_log(file))


def _connect(database: str, *, any_thread: bool) -> Connection:
    connection = sqlite3.connect(
        database,
        timeout=_TIMEOUT,
        isolation_level=None,
        check_same_thread=not any_thread,
        factory=SharedConnection if any_thread else Connection,
        uri=True,
    )
    connection.row_factory = sqlite3.Row
    for name, (arguments, function) in WORD_FUNCTIONS.items():
        connection.create_function(name, arguments, function, deterministic=True)
    return connection
