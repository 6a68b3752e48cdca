"""A copy of the ledger, and the checksum of both.

Ids and the outcomes of downloads are nowhere but in the ledger, and SQLite notices little of what
happens to its file. So whoever has written it leaves a checksum, by which every reader knows it,
and a copy, which takes its place when it is lost.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from pipeline.artifacts import (
    Manifest,
    damaged,
    read_sealed,
    replacing,
    sha256_file,
    write_sealed,
)
from pipeline.config.schema import LEDGER, LEDGER_COPY, LEDGER_SEAL
from pipeline.errors import DamagedArtifactError
from pipeline.integrity import CHANGED, check_file

_PATIENCE = 1.0  # seconds to wait for readers; if in vain, the next run leaves the checksum


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Write the ledger in this block, within the folder's lock; copy it when the block ends.

    Raises:
        DamagedArtifactError: it is not what was written last.
    """
    restore(folder)
    check(folder)
    if seal := _read_seal(folder):
        write_sealed(folder / LEDGER_SEAL, {**seal, "is_current": False})
    try:
        yield
    finally:
        _finish(folder)


def check(folder: Path) -> None:
    """Compare the ledger with its checksum, if no one is writing it.

    Raises:
        DamagedArtifactError: it is not what was written last, or its checksum is not.
    """
    file = folder / LEDGER
    while (seal := _read_seal(folder)) and seal["is_current"] and file.exists():
        try:
            check_file(file, seal["sha256"], remove=file)
        except DamagedArtifactError:
            if _read_seal(folder) == seal:  # else someone has begun to write it
                raise
        else:
            return


def check_copy(folder: Path) -> None:
    """Compare the copy with its checksum.

    Raises:
        DamagedArtifactError: one of them is not what was written.
    """
    copy = folder / LEDGER_COPY
    seal = _read_seal(folder)
    if seal is None:
        raise damaged(folder / LEDGER_SEAL, "it is missing", remove=copy)
    if sha256_file(copy, remove=copy) != seal["sha256"]:
        raise damaged(copy, CHANGED, remove=copy)


def has_copy(folder: Path) -> bool:
    """Whether a copy was made."""
    return any((folder / name).exists() for name in (LEDGER_COPY, LEDGER_SEAL))


def restore(folder: Path) -> None:
    """Put the copy in the place of a ledger that is not there; do nothing if there is no copy."""
    file, copy = folder / LEDGER, folder / LEDGER_COPY
    if file.exists() or not copy.is_file():
        return
    check_copy(folder)
    for suffix in ("-wal", "-shm", "-journal"):  # of the ledger that was lost
        file.with_name(f"{LEDGER}{suffix}").unlink(missing_ok=True)
    with replacing(file) as unfinished:
        shutil.copyfile(copy, unfinished)


def _finish(folder: Path) -> None:
    file, copy = folder / LEDGER, folder / LEDGER_COPY
    if not file.is_file() or not _is_complete(file):
        return
    sha256 = sha256_file(file)
    if not (copy.is_file() and (_read_seal(folder) or {}).get("sha256") == sha256):
        with replacing(copy) as unfinished:
            shutil.copyfile(file, unfinished)
    write_sealed(folder / LEDGER_SEAL, {"sha256": sha256, "is_current": True})


def _is_complete(file: Path) -> bool:
    """Whether all that was committed is in the file itself; a reader may keep it from being so."""
    wal = file.with_name(f"{file.name}-wal")
    if not (wal.exists() and wal.stat().st_size):
        return True
    with closing(sqlite3.connect(file, timeout=_PATIENCE)) as database:
        (is_busy, *_) = database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not is_busy


def _read_seal(folder: Path) -> Manifest | None:
    seal = folder / LEDGER_SEAL
    return read_sealed(seal, remove=seal) if seal.exists() else None
