"""Whether there is room for what is about to be written: said before the work, not after it."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from pipeline.errors import NoRoomError
from pipeline.index.sizes import IndexSize

SPARE = 1.1
"""What a file system takes besides, and what estimates are off by."""
BUILDING = 2.0
"""Times what an index takes at the least: lists grow by doubling."""
_MEMORY_LIMIT = Path("/sys/fs/cgroup/memory.max")
_MEMINFO = Path("/proc/meminfo")
Note = Callable[[str], object]


def check_disk(name: str, folder: Path, least: int, note: Note) -> None:
    """Refuse to write `least` bytes where they do not fit; note where they may not.

        check_disk("vgg16: embedding", engine.folder, size.vectors + size.disk, progress.note)

    Raises:
        NoRoomError: there is less room than that.
    """
    free = free_disk(folder)
    if free is None or SPARE * least <= free:
        return
    what = f"{name} writes {_size(least)} or more, and {_size(free)} of the disk are free"
    if least > (free_disk(folder, with_reserve=os.geteuid() == 0) or free):
        raise NoRoomError(what, where=folder, hint="make room, or set root to another disk")
    note(f"{what}: make room if it does not end well")


def check_memory(name: str, folder: Path, size: IndexSize, note: Note) -> None:
    """Refuse to write an index that memory cannot hold the codes of; note where it may not.

    Raises:
        NoRoomError: all the memory that this process may have is too small.
    """
    total, available = total_memory(), available_memory()
    what = f"{name} takes {_size(size.building)} of memory or more"
    if total is not None and size.building > total:
        what += f", and there are {_size(total)}"
        raise NoRoomError(what, where=folder, hint="use a machine with more, or index.type flat")
    if available is not None and BUILDING * size.building > available:
        note(f"{what}, and {_size(available)} are available: end other programs if it fails")


def free_disk(folder: Path, *, with_reserve: bool = False) -> int | None:
    """Return the bytes that can be written where a folder is, or will be; None if unknown.

    `with_reserve` counts what only the system's administrator may use.
    """
    place = folder.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        status = os.statvfs(place)
    except OSError:
        return None
    blocks = status.f_bfree if with_reserve else status.f_bavail
    return blocks * status.f_frsize if status.f_blocks else None  # some mounts tell nothing


def total_memory() -> int | None:
    """Return the bytes of memory that this process may have at the most; None if unknown."""
    return min(_limits(), default=None)


def available_memory() -> int | None:
    """Return the bytes of memory that are not in use; None if unknown."""
    with suppress(OSError, ValueError, IndexError, StopIteration):
        lines = _MEMINFO.read_text().splitlines()
        line = next(line for line in lines if line.startswith("MemAvailable:"))
        return min([1024 * int(line.split()[1]), *_limits()])
    return total_memory()


def _limits() -> Iterator[int]:
    """What the machine has, and what a container or a limit of the shell leaves of it."""
    with suppress(OSError, ValueError):
        yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with suppress(OSError, ValueError):  # "max": no limit
        yield int(_MEMORY_LIMIT.read_text())
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY:
        yield limit


def _size(count: float) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e8 else f"{count / 1e6:,.1f} MB"
