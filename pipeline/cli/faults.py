"""Errors that no bug is behind → one line: the disk, the memory, the network, the user's own.

Libraries wrap what the system says in errors of their own; where they name it as the cause, it is
what is said.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable

from pipeline.errors import PipelineError

_AGAIN = "nothing is half-written: mend it and run this again"
_HINTS = {
    errno.ENOSPC: "free some space there",
    errno.EDQUOT: "your share of it is used up: free some space",
    errno.EFBIG: "its file system, or `ulimit -f`, allows no file of that size",
    errno.EMFILE: "allow more open files (`ulimit -n`)",
    errno.ENFILE: "the system has no more open files to give: end other programs",
    errno.ENOMEM: "the system has no more memory to give: end other programs",
    errno.EAGAIN: "the system has no more to give: end other programs",
    errno.EIO: "the disk, or the way to it, is faulty",
    errno.ESTALE: "the server has another file there now: mount it again",
    errno.EROFS: "it can only be read: set `root` to a place that can be written",
    errno.EACCES: "you may not: see its permissions",
    errno.EPERM: "you may not: see its permissions and attributes",
    errno.ENAMETOOLONG: "give it a shorter name",
    errno.ELOOP: "links lead in a circle",
}
_SQLITE_HINTS = {
    sqlite3.SQLITE_FULL: "free some space on its disk",
    sqlite3.SQLITE_IOERR: "its disk is full or faulty, or `ulimit -f` allows no larger file",
    sqlite3.SQLITE_CANTOPEN: "see its permissions, and how many files may be open (`ulimit -n`)",
    sqlite3.SQLITE_READONLY: "see its permissions, and whether its disk can only be read",
    sqlite3.SQLITE_PERM: "see its permissions",
    sqlite3.SQLITE_AUTH: "see its permissions",
    sqlite3.SQLITE_BUSY: "another program is writing it: wait for that to end",
    sqlite3.SQLITE_LOCKED: "another program is writing it: wait for that to end",
    sqlite3.SQLITE_NOMEM: "the system has no more memory to give: end other programs",
}
_LESS_MEMORY = (
    "ask for less at a time (embedding.batch_size, training.batch_size, input_size) or end other"
    " programs"
)


def explain(error: BaseException) -> str | None:
    """Say in a line what is wrong and what to do; None if this is a bug.

    explain(OSError(errno.ENOSPC, "No space left on device", "index.faiss"))
    """
    cause: BaseException | None = error
    while cause is not None:
        for kind, explain_kind in _KINDS:
            if isinstance(cause, kind) and (line := explain_kind(cause)):
                return line
        cause = cause.__cause__
    return None


def _system(error: OSError) -> str:
    where = error.filename
    if isinstance(where, bytes):
        where = os.fsdecode(where)
    if not isinstance(where, str | os.PathLike):
        where = "the disk that holds the indexes"
    hint = _HINTS.get(error.errno or 0)
    what = error.strerror or " ".join(str(error).split())[:300] or type(error).__name__
    return f"{where}: {what}; {f'{hint}; ' if hint else ''}{_AGAIN}"


def _ledger(error: sqlite3.DatabaseError) -> str | None:
    if isinstance(error, sqlite3.ProgrammingError | sqlite3.NotSupportedError):
        return None
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF  # without its details
    hint = _SQLITE_HINTS.get(code, "see `imgsearch verify`")
    return f"the catalog cannot be read or written: {error}; {hint}"


def _memory(error: BaseException) -> str:
    return f"out of memory: {' '.join(str(error).split())[:200] or 'no more of it'}; {_LESS_MEMORY}"


def _runtime(error: RuntimeError) -> str | None:
    is_limit = str(error) == "can't start new thread"
    return f"{error}; allow more of them (`ulimit -u`) or end other programs" if is_limit else None


def _library(error: ImportError) -> str | None:
    if "failed to map segment" in str(error) or "annot allocate memory" in str(error):
        return _memory(error)
    is_ours = (error.name or "").partition(".")[0] == "pipeline"
    hint = "install imgsearch and its libraries again"
    return None if is_ours else f"a library cannot be loaded: {error}; {hint}"


def _text(error: UnicodeEncodeError) -> str | None:
    """Arguments and file names may hold bytes that are no text: Python keeps them as surrogates."""
    if error.reason != "surrogates not allowed":
        return None
    return f"{error.object[:100]!r}: not valid UTF-8; give it in UTF-8"


def _tensorflow(error: Exception) -> str | None:
    """TensorFlow's own error for too little memory, told by its name: it may not be loaded."""
    return _memory(error) if type(error).__name__ == "ResourceExhaustedError" else None


_KINDS: tuple[tuple[type[BaseException], Callable[..., str | None]], ...] = (
    (PipelineError, str),
    (OSError, _system),
    (MemoryError, _memory),
    (sqlite3.DatabaseError, _ledger),
    (UnicodeEncodeError, _text),
    (ImportError, _library),
    (RuntimeError, _runtime),
    (Exception, _tensorflow),
)
