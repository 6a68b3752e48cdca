"""The ledger of another user, or on a read-only disk: read whole, unchanged, and never torn."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pipeline.catalog import ledger_copy, ledger_opening
from pipeline.catalog.catalog import Catalog, ImageRecord, State
from pipeline.errors import DamagedArtifactError, NotBuiltError
from tests.conftest import offer_only
from tests.read_only import reading_only


@pytest.fixture
def folder() -> Iterator[Path]:
    """The folder of a catalog to which any user finds a way, as not to pytest's."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        put(Path(name) / "catalog", "a", "b")
        yield Path(name) / "catalog"


def put(folder: Path, *keys: str) -> None:
    with ledger_copy.writing(folder), Catalog(folder, create=True) as catalog:
        write(catalog, *keys)
        catalog.seal_generation()


def write(catalog: Catalog, *keys: str) -> None:
    with catalog.transaction():
        for key in keys:
            photo = ImageRecord(key, State.AVAILABLE, path=key, sha256=key.encode() * 32)
            catalog.put(key, key.title(), "", {}, [photo])
    offer_only(catalog, *keys)


def keys(catalog: Catalog) -> set[str]:
    return {row["key"] for row in catalog.select("SELECT key FROM items WHERE state <> 'removed'")}


def state(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {f.name: (f.stat().st_mtime_ns, f.read_bytes()) for f in sorted(folder.iterdir())}


@pytest.mark.parametrize("generation", [None, 1, 2])
def test_it_is_read_and_nothing_is_written(folder: Path, generation: int | None) -> None:
    put(folder, "b", "c")
    before = state(folder)
    with reading_only(folder), Catalog(folder, generation=generation) as catalog:
        assert keys(catalog) == ({"a", "b"} if generation == 1 else {"b", "c"})
        assert catalog.damage() is None
    assert state(folder) == before


def test_an_open_reader_goes_on_while_the_owner_writes(folder: Path) -> None:
    with reading_only(folder):
        reader = Catalog(folder)
    with reader:
        put(folder, *map(str, range(500)))
        assert keys(reader) == {"a", "b"}
        assert reader.damage() is None


def test_what_the_owner_is_writing_is_read_from_the_log(folder: Path) -> None:
    with ledger_copy.writing(folder), Catalog(folder, create=True) as owner:
        write(owner, "b", "c")
        with reading_only(folder), Catalog(folder, generation=1) as before, Catalog(folder) as now:
            assert keys(before) == {"a", "b"}
            assert keys(now) == {"b", "c"}
    with Catalog(folder) as now:
        assert keys(now) == {"b", "c"}


def test_what_a_killed_run_left_in_a_log_alone_is_not_passed_over(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "catalog.sqlite", isolation_level=None)) as owner:
        owner.execute("UPDATE items SET name = 'new'")
        log = (folder / "catalog.sqlite-wal").read_bytes()
    (folder / "catalog.sqlite-wal").write_bytes(log)
    (folder / "catalog.json").unlink()
    with (
        reading_only(folder),
        pytest.raises(NotBuiltError, match=r"broken off .* `imgsearch build`"),
    ):
        Catalog(folder)


def test_what_changes_while_it_is_copied_is_copied_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_memory, later = ledger_opening.in_memory, iter([("b", "c"), ("c", "d")])

    def slow(source: sqlite3.Connection, *, any_thread: bool = False) -> sqlite3.Connection:
        if keys := next(later, None):
            put(folder, *keys)
        return in_memory(source, any_thread=any_thread)

    monkeypatch.setattr(ledger_opening, "in_memory", slow)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with Catalog(folder) as catalog:
        assert keys(catalog) == {"c", "d"}
        assert catalog.damage() is None


def test_a_damaged_one_is_not_read(folder: Path) -> None:
    file = folder / "catalog.sqlite"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with reading_only(folder), pytest.raises(DamagedArtifactError, match="content has changed"):
        Catalog(folder)


def test_it_is_read_where_the_disk_is_full(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect, refused = ledger_opening._connect, []

    def on_a_full_disk(database: str, *, any_thread: bool) -> sqlite3.Connection:
        if database == ":memory:":
            return connect(database, any_thread=any_thread)
        refused.append(database)
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_SHMSIZE
        raise error

    monkeypatch.setattr(ledger_opening, "_connect", on_a_full_disk)
    before = state(folder)
    with Catalog(folder) as catalog:
        assert keys(catalog) == {"a", "b"}
    assert refused
    assert state(folder) == before
