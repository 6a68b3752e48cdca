"""Several threads read by one connection."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline.catalog.shared_connection import SharedConnection

ROWS = 400


@pytest.fixture
def shared(tmp_path: Path) -> SharedConnection:
    """A table of numbers, read through a function in Python, which lets other threads run."""
    database = sqlite3.connect(
        tmp_path / "numbers.sqlite", check_same_thread=False, factory=SharedConnection
    )
    database.create_function("same", 1, lambda number: number)
    database.execute("CREATE TABLE numbers (number INTEGER)")
    database.executemany("INSERT INTO numbers VALUES (?)", [(n,) for n in range(ROWS)])
    return database


def test_threads_do_not_wait_for_each_other_for_ever(shared: SharedConnection) -> None:
    def read(start: int) -> list[int]:
        one = shared.execute("SELECT same(number) FROM numbers WHERE same(number) >= ?", (start,))
        first = one.fetchone()  # the others are left, and go with `one`
        rows = shared.execute("SELECT same(number) FROM numbers WHERE number > ?", (start,))
        return [first[0], *(number for (number,) in rows)]

    starts = [n % ROWS for n in range(0, 7 * ROWS, 7)]
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(read, starts))
    assert answers == [list(range(start, ROWS)) for start in starts]


def test_rows_outlive_the_connection(shared: SharedConnection) -> None:
    rows = shared.execute("SELECT number FROM numbers ORDER BY number LIMIT 3")
    shared.close()
    assert rows.fetchall() == [(0,), (1,), (2,)]
    assert rows.fetchone() is None
    with pytest.raises(sqlite3.ProgrammingError):
        shared.execute("SELECT 1")


def test_an_error_ends_its_turn(shared: SharedConnection) -> None:
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        shared.execute("SELECT 1 FROM absent")
    assert shared.execute("SELECT COUNT(*) FROM numbers").fetchone() == (ROWS,)
