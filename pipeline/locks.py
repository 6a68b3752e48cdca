"""Locks on files: they end with their process, even after kill -9."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import BusyError


@contextmanager
def lock(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Keep every other writer out of a catalog's folder; readers are not affected.

    With `wait`, wait for another one to end.

    The lock ends with its process, even after kill -9. Who holds it may remove the folder: whoever
    comes then makes another one.

    Raises:
        BusyError: another process holds it.
    """
    path = folder / ".lock"
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        with _opened(path) as descriptor:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError as error:
                hint = "wait for it to end, then try again"
                what = "another imgsearch is writing here"
                raise BusyError(what, where=folder, hint=hint) from error
            if _is_at(descriptor, path):
                yield
                return


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """Open a lock, which is made if need be; a FIFO or a folder in its place serves as well."""
    flags = os.O_CLOEXEC | os.O_NONBLOCK  # else a FIFO waits for its other end
    try:
        descriptor = os.open(path, flags | os.O_RDWR | os.O_CREAT, 0o666)
    except IsADirectoryError:
        descriptor = os.open(path, flags | os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file still is the one at a path: it may have been removed before its lock."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def lock_file(path: Path, *, shared: bool) -> Iterator[bool]:
    """Lock a file while the block runs; yield False where that is not possible, and do not wait.

    Several processes can hold a `shared` lock, each without the right to write. One that is not
    shared excludes them: who holds it may remove the file. Where the file system has no locks,
    sharing one does nothing.

        with lock_file(manifest, shared=True) as is_held: ...
    """
    flags = os.O_CLOEXEC | os.O_NONBLOCK | (os.O_RDONLY if shared else os.O_RDWR)
    try:
        descriptor = os.open(path, flags)
    except (FileNotFoundError, NotADirectoryError):
        yield False
        return
    except OSError:
        if shared:
            raise
        yield False  # another user's
        return
    try:
        yield _try_lock(descriptor, shared) and _is_at(descriptor, path)
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int, shared: bool) -> bool:
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # there are no locks here
        return shared
    return True


def is_locked(path: Path) -> bool:
    """Whether another process holds a lock on a file, or may, for all that can be told."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    except FileNotFoundError:
        return False
    except OSError:  # another user's
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
