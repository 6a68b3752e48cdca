"""A connection to SQLite that several threads read from."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from threading import RLock
from typing import Any, Self

_BLOCK = 1000  # rows that are fetched at a time


class SharedConnection(sqlite3.Connection):
    """Runs statements for one thread at a time.

    SQLite keeps other threads out of a connection while a statement runs, which may need Python's
    lock to call a function of ours. Python holds that lock while it reads the columns of a row, for
    which it must get into the connection. Two threads that hold one of them each would wait for
    each other for ever, and all other threads with them.

        sqlite3.connect("catalog.sqlite", check_same_thread=False, factory=SharedConnection)
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.lock = RLock()

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        """Run a statement; its rows are fetched in blocks."""
        return _SharedCursor(self).execute(sql, parameters)


class _SharedCursor(sqlite3.Cursor):
    """What SQLite does for it happens within the connection's lock."""

    def __init__(self, connection: SharedConnection) -> None:
        super().__init__(connection)
        self.row_factory = connection.row_factory
        self._lock = connection.lock
        self._rows: Iterator[Any] = iter(())

    def execute(self, sql: str, parameters: Any = (), /) -> Self:
        with self._lock:
            super().execute(sql, parameters)
        return self

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        for row in self._rows:
            return row
        with self._lock:
            self._rows = iter(super().fetchmany(_BLOCK))
        return next(self._rows)

    def fetchone(self) -> Any:
        return next(self, None)

    def fetchall(self) -> list[Any]:
        return list(self)

    def close(self) -> None:
        with self._lock:
            super().close()
