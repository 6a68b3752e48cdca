"""A connection to SQLite that serves several threads."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from threading import Lock
from typing import Any, Self


class SharedConnection(sqlite3.Connection):
    """A connection for reading from several threads, which answers one statement at a time.

    Without turns, threads may wait for each other for ever: one within a statement, which holds
    SQLite's lock, for Python's lock, as its SQL calls a function in Python; and another, which
    holds Python's, for SQLite's. So all rows of a statement are read within its turn.

        sqlite3.connect(file, check_same_thread=False, factory=SharedConnection)
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._turn = Lock()

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        """Return the rows of a statement, all of which have been read."""
        with self._turn:
            return self.cursor(_ReadRows).execute(sql, parameters)

    def close(self) -> None:
        """Close it, after the statement that is being answered."""
        with self._turn:
            super().close()


class _ReadRows(sqlite3.Cursor):
    """The rows of a statement, which need neither the connection nor a turn any more."""

    _rows: Iterator[Any] = iter(())

    def execute(self, sql: str, parameters: Any = (), /) -> Self:
        super().execute(sql, parameters)
        self._rows = iter(super().fetchall())
        return self

    def __next__(self) -> Any:
        return next(self._rows)

    def fetchone(self) -> Any:
        return next(self._rows, None)

    def fetchall(self) -> list[Any]:
        return list(self._rows)

    def close(self) -> None:
        self._rows = iter(())
