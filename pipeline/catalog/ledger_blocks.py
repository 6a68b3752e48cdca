"""The bytes of the ledger's file, in blocks with a checksum each, so that few of them are touched.

Which pages a run has changed is known from SQLite's write-ahead log, without reading the file.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import struct
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from pipeline.artifacts import open_file

BLOCK_SIZE = 2**20  # bytes
LOG_PAGES = 2**14
"""So many pages the log holds at least before SQLite begins it anew."""
_LOG_HEADER, _FRAME_HEADER = 32, 24  # bytes: https://www.sqlite.org/fileformat2.html#walformat

_held: dict[tuple[int, int], _Held] = {}
_lock = Lock()


@dataclass
class _Held:
    descriptor: int
    users: int = 0


@contextmanager
def held(file: Path) -> Iterator[int]:
    """Yield a descriptor to read a ledger by; all users of a file in this process share it.

    While one of them has the ledger open in SQLite, none may close a descriptor of its own: the
    system would end SQLite's locks (https://www.sqlite.org/howtocorrupt.html, section 2.2), and
    another process could replace what is being read.

    Raises:
        DamagedArtifactError, OSError: as `open_file`.
    """
    with _lock:
        key, entry = _acquire(file)
        entry.users += 1
    try:
        yield entry.descriptor
    finally:
        with _lock:
            entry.users -= 1
            if not entry.users:
                del _held[key]
                os.close(entry.descriptor)


def _acquire(file: Path) -> tuple[tuple[int, int], _Held]:
    with contextlib.suppress(OSError):
        status = file.stat()
        key = (status.st_dev, status.st_ino)
        if key in _held:
            return key, _held[key]
    with open_file(file, remove=file) as opened:
        status = os.fstat(opened.fileno())
        key = (status.st_dev, status.st_ino)
        if key not in _held:  # else it was put there just now
            _held[key] = _Held(os.dup(opened.fileno()))
    return key, _held[key]


def _read(descriptor: int, position: int, length: int) -> bytes:
    """Return a part of a file, which is shorter where the file ends."""
    parts, end = [], position + length
    while part := os.pread(descriptor, end - position, position):
        parts.append(part)
        position += len(part)
    return b"".join(parts)


def block_count(descriptor: int) -> int:
    """Return of how many blocks a file is."""
    return -(-os.fstat(descriptor).st_size // BLOCK_SIZE)


def block_sha256(descriptor: int, number: int) -> str:
    """Hash a block of a file; returns 64 hexadecimal digits."""
    return hashlib.sha256(_read(descriptor, number * BLOCK_SIZE, BLOCK_SIZE)).hexdigest()


def hash_blocks(descriptor: int) -> list[str]:
    """Hash every block of a file."""
    return [block_sha256(descriptor, number) for number in range(block_count(descriptor))]


def copy_file(descriptor: int, copy: Path) -> None:
    """Write all of a file into a copy, and flush it to the disk."""
    copy_pages(descriptor, copy, Pages(BLOCK_SIZE, range(block_count(descriptor))))


def copy_pages(descriptor: int, copy: Path, pages: Pages) -> None:
    """Write pages of a file into a copy, which gets its size, and flush them to the disk."""
    try:
        with copy.open("r+b") as file:
            for number in pages.numbers:
                file.seek(number * pages.size)
                file.write(_read(descriptor, number * pages.size, pages.size))
            file.truncate(os.fstat(descriptor).st_size)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        error.filename = str(copy)
        raise


@dataclass(frozen=True)
class Pages:
    """Parts of a file, of `size` bytes each; the first one is number 0."""

    size: int
    numbers: Collection[int]

    @property
    def blocks(self) -> set[int]:
        """The blocks in which they are."""
        return {number * self.size // BLOCK_SIZE for number in self.numbers}


class WriteAheadLog:
    """What has been written to a ledger since the file itself was compared with its checksum."""

    def __init__(self, file: Path) -> None:
        """Watch the log, until `changed_pages`, from a moment when nothing is in it."""
        self._file = file
        self._log = file.with_name(f"{file.name}-wal")
        self._before = self._identity()
        self._keeper: sqlite3.Connection | None = None
        with contextlib.suppress(sqlite3.DatabaseError):  # opening it will say what is wrong
            # While this is open, SQLite does not delete the log.
            self._keeper = sqlite3.connect(file, check_same_thread=False)
            self._keeper.execute("SELECT * FROM sqlite_master LIMIT 1").fetchall()
        self._was_empty = not self._size()

    def changed_pages(self) -> Pages | None:
        """Return the pages that are written to the file once the log is; None if not known.

        They are known while the log holds all that was written, and nobody wrote to the file.
        """
        try:
            is_known = self._was_empty and self._before == self._identity()
            return self._pages() if is_known and self._keeper else None
        finally:
            if self._keeper:
                self._keeper.close()

    def _identity(self) -> tuple[int, ...]:
        status = self._file.stat()
        return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)

    def _size(self) -> int:
        return self._log.stat().st_size if self._log.exists() else 0

    def _pages(self) -> Pages | None:
        if not self._size():
            return Pages(BLOCK_SIZE, ())
        with self._log.open("rb") as log:
            (page_size,) = struct.unpack_from(">I", log.read(_LOG_HEADER), 8)
            frame_size = _FRAME_HEADER + page_size
            frames = (self._size() - _LOG_HEADER) // frame_size
            if frames >= LOG_PAGES:
                return None
            offsets = (_LOG_HEADER + number * frame_size for number in range(frames))
            numbers = {struct.unpack(">I", os.pread(log.fileno(), 4, at))[0] for at in offsets}
        return Pages(page_size, sorted(number - 1 for number in numbers))
