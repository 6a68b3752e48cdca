"""ledger_copy.py: no altered byte of the ledger is read, and a lost ledger comes back."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pipeline.artifacts import sweep
from pipeline.catalog import ledger_blocks, ledger_copy
from pipeline.catalog.catalog import Catalog, ImageRecord, State
from pipeline.catalog.ledger_blocks import Pages
from pipeline.errors import DamagedArtifactError, NotBuiltError

TAKE = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], timeout=0)
database.execute("PRAGMA journal_mode = DELETE")  # for whoever is alone
"""
BLOCK = 2**13  # two pages
LEDGER, COPY, SEAL = "catalog.sqlite", "catalog.copy.sqlite", "catalog.json"


def is_in_use(folder: Path) -> bool:
    """Whether SQLite lets another process know that the ledger is open."""
    command = [sys.executable, "-c", TAKE, str(folder / LEDGER)]
    return b"locked" in subprocess.run(command, capture_output=True, check=False).stderr


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


def test_what_is_remembered_can_be_compared_anew(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_copy, "was_compared", lambda *_: True)
    (folder / LEDGER).write_bytes((folder / LEDGER).read_bytes()[:-1] + b"x")
    ledger_copy.check(folder)
    with pytest.raises(DamagedArtifactError, match="its content has changed"):
        ledger_copy.check(folder, anew=True)


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
        patch.setattr(ledger_copy, "_finish", lambda *_: None)
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


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_blocks, "BLOCK_SIZE", BLOCK)
    monkeypatch.setattr(ledger_blocks, "LOG_PAGES", 2**6)


def check_copy(folder: Path) -> None:
    """Compare the ledger's copy and its checksums with its bytes."""
    data = (folder / LEDGER).read_bytes()
    assert (folder / COPY).read_bytes() == data
    blocks = [
        hashlib.sha256(data[at : at + BLOCK]).hexdigest() for at in range(0, len(data), BLOCK)
    ]
    seal = json.loads((folder / SEAL).read_text())
    assert (seal["blocks"], seal["bytes"], seal["is_current"]) == (blocks, len(data), True)


def test_the_copy_is_the_ledger_after_small_and_large_changes(
    tmp_path: Path, small_blocks: None
) -> None:
    rng = random.Random(1)
    for _ in range(15):
        count = rng.choice([0, 1, 1, 2, 200])
        put(tmp_path, *(f"{rng.randrange(400)}" for _ in range(count)))
        check_copy(tmp_path)


def test_a_small_change_rewrites_few_blocks(
    tmp_path: Path, small_blocks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, *map(str, range(500)))
    copied: list[int] = []
    hashed: list[int] = []
    copy_pages, block_sha256 = ledger_blocks.copy_pages, ledger_blocks.block_sha256

    def copy(descriptor: int, file: Path, pages: Pages) -> None:
        copied.extend(pages.numbers)
        copy_pages(descriptor, file, pages)

    def sha256(descriptor: int, number: int) -> str:
        hashed.append(number)
        return block_sha256(descriptor, number)

    monkeypatch.setattr(ledger_blocks, "copy_pages", copy)
    monkeypatch.setattr(ledger_copy, "copy_pages", copy)
    monkeypatch.setattr(ledger_copy, "block_sha256", sha256)
    with ledger_copy.writing(tmp_path), Catalog(tmp_path, create=True) as catalog:
        catalog.set_meta("version", "7")
    check_copy(tmp_path)
    assert 0 < len(copied) < 6
    assert len(hashed) < 6
    with ledger_copy.writing(tmp_path), Catalog(tmp_path, create=True):
        copied.clear()  # nothing is written, nothing copied
    assert copied == []
    check_copy(tmp_path)


def test_what_another_program_writes_meanwhile_is_copied_too(
    tmp_path: Path, small_blocks: None
) -> None:
    put(tmp_path, *map(str, range(100)))
    with ledger_copy.writing(tmp_path), (tmp_path / LEDGER).open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"x")
    check_copy(tmp_path)


def run_killed(step: int, work: Callable[[], None]) -> bool:
    """Do something in a process that is killed before a flush, a rename or a block; was it?"""
    if child := os.fork():
        return bool(os.waitpid(child, 0)[1])
    left = iter(range(step))

    def killing(function: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object) -> object:
            if next(left, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for owner, name in ((os, "fsync"), (Path, "replace")):
            patch.setattr(owner, name, killing(getattr(owner, name)))
        copy, may_end = ledger_blocks.copy_pages, killing(lambda number: number)

        def copy_pages(descriptor: int, file: Path, pages: Pages) -> None:
            numbers: Any = map(may_end, pages.numbers)
            copy(descriptor, file, Pages(pages.size, numbers))

        patch.setattr(ledger_blocks, "copy_pages", copy_pages)
        patch.setattr(ledger_copy, "copy_pages", copy_pages)
        work()
    os._exit(0)


@pytest.mark.parametrize("keys_put", [("1", "new"), tuple(map(str, range(50, 200)))])
def test_a_run_killed_at_any_step_is_completed_by_the_next(
    tmp_path: Path, small_blocks: None, keys_put: tuple[str, ...]
) -> None:
    put(tmp_path, *map(str, range(100)))
    step = 0
    while run_killed(step, partial(put, tmp_path, *keys_put, f"step {step}")):
        found = keys(tmp_path)  # no damage is seen
        assert set(map(str, range(100))) <= set(found)
        put(tmp_path, *map(str, range(100)))
        check_copy(tmp_path)
        sweep(tmp_path)
        assert {path.name for path in tmp_path.iterdir()} <= {LEDGER, COPY, SEAL, "checked.json"}
        step += 1 if step < 12 else 20  # large changes have many blocks
    assert step >= 10
    check_copy(tmp_path)
    assert f"step {step}" in keys(tmp_path)


def test_comparing_the_ledger_leaves_its_locks(folder: Path) -> None:
    with Catalog(folder):
        Catalog(folder).close()
        ledger_copy.check(folder, anew=True)
        assert is_in_use(folder)
        put(folder, "e")
        assert is_in_use(folder)
    assert not is_in_use(folder)
