"""Which large files were compared with their checksums, and what the system says of them since.

It is kept beside them, in `checked.json`: a file that is still the same need not be read again.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from pipeline.artifacts import Manifest, read_sealed, write_sealed
from pipeline.errors import DamagedArtifactError

CHECKED = "checked.json"
"""In a published folder: which of its large files were compared with their checksums, and when."""
MIN_REMEMBERED_BYTES = 2**18  # smaller files are sooner read than looked up
_SETTLED_NS = 2 * 10**9  # a file may change twice within one tick of the clock that dates it
_TICK_NS = 20 * 10**6  # of such a clock, unless it is a slow one


def was_compared(path: Path, sha256: str, status: os.stat_result) -> bool:
    """Whether it is remembered that a file, which has this status now, had this checksum."""
    is_large = status.st_size >= MIN_REMEMBERED_BYTES
    return is_large and _remembered(path.parent).get(path.name) == _proof(sha256, status)


def note_compared(
    path: Path, sha256: str, status: os.stat_result, settled_ns: int | None = None
) -> None:
    """Remember that a file had this checksum, and this status before it was compared.

    Not if it has changed within the last `settled_ns` nanoseconds: it could change once more
    without another time. Where nothing may be written, files are compared each time.
    """
    settled_ns = _SETTLED_NS if settled_ns is None else settled_ns
    is_settled = time.time_ns() - status.st_ctime_ns > settled_ns
    if status.st_size >= MIN_REMEMBERED_BYTES and is_settled:
        remembered = {**_remembered(path.parent), path.name: _proof(sha256, status)}
        with contextlib.suppress(OSError):
            write_sealed(path.parent / CHECKED, remembered)


def settled_status(descriptor: int) -> os.stat_result:
    """The status of a file that was just written, once any further change has another time.

    So that what is read from now on need not be read again by whoever opens it next.
    """
    age = time.time_ns() - os.fstat(descriptor).st_ctime_ns
    time.sleep(max(0, min(_TICK_NS, _TICK_NS - age)) / 10**9)
    return os.fstat(descriptor)


def note_written(path: Path, sha256: str, status: os.stat_result) -> None:
    """Remember that a file had this checksum when it was read after `settled_status`."""
    is_exact = status.st_ctime_ns % 10**6  # else the file system's clock is a slow one
    note_compared(path, sha256, status, settled_ns=_TICK_NS if is_exact else None)


def _proof(sha256: str, status: os.stat_result) -> list[str | int]:
    """A checksum, and what changes whenever a file is written to or replaced."""
    times = (status.st_mtime_ns, status.st_ctime_ns)
    return [sha256, status.st_dev, status.st_ino, status.st_size, *times]


def _remembered(folder: Path) -> Manifest:
    """File name → its checksum and its identity when that was compared."""
    try:
        return read_sealed(folder / CHECKED)
    except (DamagedArtifactError, OSError):
        return {}  # the files are compared again
