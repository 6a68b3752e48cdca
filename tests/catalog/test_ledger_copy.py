"""ledger_copy.py: no altered byte of the ledger is read, and a lost ledger comes back."""

from __future__ import annotations

import os
import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from pipeline.catalog import ledger_copy
from pipeline.catalog.catalog import Catalog, ImageRecord, State
from pipeline.errors import DamagedArtifactError, NotBuiltError

LEDGER, COPY, SEAL = "catalog.sqlite", "catalog.copy.sqlite", "catalog.json"


def put(folder: Path, *keys: str) -> None:
    """Write items into the ledger, as one run."""
    with (
        ledger_copy.writing(folder),
        Catalog(folder, create=True) as catalog,
        catalog.transaction(),
    ):
        catalog.begin_ingest()
        for key in keys:
            photo = ImageRecord(key, State.AVAILABLE, path=key, sha256=key.encode() * 32)
            catalog.put(key, key.title(), "", {}, [photo])
        catalog.finish_ingest(None)


def keys(folder: Path) -> dict[str, int]:
    with Catalog(folder) as catalog:
        return {row["key"]: row["id"] for row in catalog.select("SELECT key, id FROM items")}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    put(tmp_path, "a", "b")
    put(tmp_path, "b", "c", "d")
    return tmp_path


def test_the_copy_has_what_was_written(folder: Path) -> None:
    assert (folder / COPY).read_bytes() == (folder / LEDGER).read_bytes()
    ledger_copy.check(folder)
    ledger_copy.check_copy(folder)
    assert sorted(path.name for path in folder.iterdir()) == [COPY, SEAL, LEDGER]


def test_no_flipped_bit_is_read(folder: Path) -> None:
    file = folder / LEDGER
    data = file.read_bytes()
    for bit in random.Random(1).sample(range(8 * len(data)), 60):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        file.write_bytes(flipped)
        with pytest.raises(DamagedArtifactError, match="its content has changed") as caught:
            Catalog(folder)
        assert caught.value.remove == file
        with pytest.raises(DamagedArtifactError, match="its content has changed"):
            put(folder, "e")


def test_a_lost_ledger_comes_back_with_its_ids(folder: Path) -> None:
    before = keys(folder)
    (folder / LEDGER).unlink()
    (folder / f"{LEDGER}-wal").write_bytes(b"of the ledger that is lost")
    with pytest.raises(NotBuiltError):
        Catalog(folder)
    put(folder, "d", "e")
    assert keys(folder) == {**before, "e": 5}


def test_a_damaged_copy_is_not_taken(folder: Path) -> None:
    (folder / LEDGER).unlink()
    os.truncate(folder / COPY, 5000)
    with pytest.raises(DamagedArtifactError) as caught:
        put(folder, "a")
    assert caught.value.remove == folder / COPY


def test_a_ledger_that_is_being_written_can_be_read(folder: Path) -> None:
    with ledger_copy.writing(folder), Catalog(folder, create=True) as catalog:
        with catalog.transaction():
            catalog.set_meta("version", "7")
        assert set(keys(folder)) == set("abcd")
    with Catalog(folder) as catalog:
        assert catalog.get_meta("version") == "7"


def test_a_run_that_was_killed_leaves_a_ledger_that_can_be_read(folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger_copy, "_finish", lambda _: None)
        put(folder, "e")
    assert set(keys(folder)) == set("abcde")
    assert (folder / COPY).read_bytes() != (folder / LEDGER).read_bytes()
    put(folder, "e")
    assert (folder / COPY).read_bytes() == (folder / LEDGER).read_bytes()


@pytest.mark.parametrize("is_reading", [False, True])
def test_a_reader_may_be_open_all_the_while(folder: Path, is_reading: bool) -> None:
    with closing(sqlite3.connect(folder / LEDGER, isolation_level=None)) as reader:
        if is_reading:
            reader.execute("BEGIN")
        reader.execute("SELECT * FROM items").fetchone()
        put(folder, "e")
        assert "e" in keys(folder)
        if not is_reading:
            ledger_copy.check_copy(folder)
    put(folder, "f")
    assert "f" in keys(folder)
    ledger_copy.check_copy(folder)
