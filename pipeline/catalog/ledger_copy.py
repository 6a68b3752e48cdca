"""A copy of the ledger, and the checksum of both.

Ids and the outcomes of downloads are nowhere but in the ledger, and SQLite notices little of what
happens to its file. So whoever has written it leaves checksums, by which every reader knows it,
and a copy, which takes its place when it is lost. There is a checksum for each block of the file: a
run that changes little reads and copies only the blocks that it has changed.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from pipeline.artifacts import (
    Manifest,
    damaged,
    open_file,
    read_sealed,
    replacing,
    write_sealed,
)
from pipeline.catalog.ledger_blocks import (
    Pages,
    WriteAheadLog,
    block_count,
    block_sha256,
    copy_file,
    copy_pages,
    hash_blocks,
    held,
)
from pipeline.compared import note_compared, note_written, settled_status, was_compared
from pipeline.config.schema import LEDGER, LEDGER_COPY, LEDGER_SEAL
from pipeline.errors import DamagedArtifactError
from pipeline.integrity import CHANGED

_PATIENCE = 1.0  # seconds to wait for readers; if in vain, the next run leaves the checksums


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Write the ledger in this block, within the folder's lock; copy it when the block ends.

    Raises:
        DamagedArtifactError: it is not what was written last.
    """
    restore(folder)
    check(folder)
    seal, log = _read_seal(folder), None
    if seal:
        is_known = seal["is_current"] and (folder / LEDGER).exists()
        write_sealed(folder / LEDGER_SEAL, {**seal, "is_current": False})
        log = WriteAheadLog(folder / LEDGER) if is_known else None
    try:
        yield
    finally:
        changed = log.changed_pages() if log else None
        _finish(folder, seal, changed)


def check(folder: Path, *, anew: bool = False) -> None:
    """Compare the ledger with its checksums, if no one is writing it.

    That is done once for as long as the file is the same, or `anew`.

    Raises:
        DamagedArtifactError: it is not what was written last, or its checksums are not.
    """
    file = folder / LEDGER
    while (seal := _read_seal(folder)) and seal["is_current"] and file.exists():
        if _is_as_sealed(file, seal, anew=anew):
            return
        if _read_seal(folder) == seal:  # else someone has begun to write it
            raise damaged(file, CHANGED, remove=file)


def _is_as_sealed(file: Path, seal: Manifest, *, anew: bool) -> bool:
    sha256 = _sha256(seal["blocks"])
    if not anew and was_compared(file, sha256, file.stat()):
        return True
    with held(file) as descriptor:
        status = os.fstat(descriptor)
        is_same: bool = hash_blocks(descriptor) == seal["blocks"]
    if is_same:
        note_compared(file, sha256, status)
    return is_same


def _sha256(blocks: list[str]) -> str:
    """One checksum for all blocks."""
    return hashlib.sha256("".join(blocks).encode()).hexdigest()


def check_copy(folder: Path) -> None:
    """Compare the copy with its checksums, if no run has begun to change them.

    Raises:
        DamagedArtifactError: one of them is not what was written.
    """
    while (seal := _read_seal(folder)) is None or seal["is_current"]:
        try:
            _compare_copy(folder, seal)
        except DamagedArtifactError:
            if _read_seal(folder) == seal:
                raise
        else:
            return


def _compare_copy(folder: Path, seal: Manifest | None) -> None:
    copy = folder / LEDGER_COPY
    if seal is None:
        raise damaged(folder / LEDGER_SEAL, "it is missing", remove=copy)
    with open_file(copy, remove=copy) as file:
        if hash_blocks(file.fileno()) != seal["blocks"]:
            raise damaged(copy, CHANGED, remove=copy)


def has_copy(folder: Path) -> bool:
    """Whether a copy was made."""
    return any((folder / name).exists() for name in (LEDGER_COPY, LEDGER_SEAL))


def restore(folder: Path) -> None:
    """Put the copy in the place of a ledger that is not there; do nothing if there is no copy."""
    file, copy = folder / LEDGER, folder / LEDGER_COPY
    if file.exists() or not copy.is_file():
        return
    _compare_copy(folder, _read_seal(folder))
    for suffix in ("-wal", "-shm", "-journal"):  # of the ledger that was lost
        file.with_name(f"{LEDGER}{suffix}").unlink(missing_ok=True)
    with open_file(copy) as source, replacing(file) as unfinished:
        copy_file(source.fileno(), unfinished)


def _finish(folder: Path, seal: Manifest | None, changed: Pages | None) -> None:
    """Bring the copy and the checksums up to date: with what has changed, or all if not known."""
    file = folder / LEDGER
    if not file.is_file() or not _is_complete(file):
        return
    with held(file) as descriptor:
        status = settled_status(descriptor)
        if seal is None or changed is None:
            blocks = hash_blocks(descriptor)
            _copy(descriptor, folder / LEDGER_COPY)
        else:
            blocks = _blocks(descriptor, seal["blocks"], changed.blocks)
            _update_copy(descriptor, folder / LEDGER_COPY, seal, changed)
    content = {"blocks": blocks, "bytes": status.st_size, "is_current": True}
    write_sealed(folder / LEDGER_SEAL, content)
    note_written(file, _sha256(blocks), status)


def _blocks(descriptor: int, sealed: list[str], changed: set[int]) -> list[str]:
    """The checksum of every block, of which those that have not changed are known."""
    count = block_count(descriptor)
    changed = changed | set(range(len(sealed) - 1, count))  # the last one may be longer or shorter
    return [block_sha256(descriptor, i) if i in changed else sealed[i] for i in range(count)]


def _copy(descriptor: int, copy: Path) -> None:
    with replacing(copy) as unfinished:
        copy_file(descriptor, unfinished)


def _update_copy(descriptor: int, copy: Path, seal: Manifest, changed: Pages) -> None:
    """Write what has changed into a copy, which is as it was sealed.

    A kill leaves a part of it written: the next run does not take it for sealed, and makes it anew.
    """
    if not copy.is_file() or copy.stat().st_size != seal["bytes"]:
        _copy(descriptor, copy)
    elif changed.numbers:
        copy_pages(descriptor, copy, changed)


def _is_complete(file: Path) -> bool:
    """Whether all that was committed is in the file itself; a reader may keep it from being so."""
    wal = file.with_name(f"{file.name}-wal")
    if not (wal.exists() and wal.stat().st_size):
        return True
    with closing(sqlite3.connect(file, timeout=_PATIENCE)) as database:
        (is_busy, *_) = database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not is_busy


def _read_seal(folder: Path) -> Manifest | None:
    file = folder / LEDGER_SEAL
    if not file.exists():
        return None
    seal = read_sealed(file, remove=file)
    # That of an earlier version has no checksums of blocks.
    return seal if "blocks" in seal else {"blocks": [], "bytes": 0, "is_current": False}
