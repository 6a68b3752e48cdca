"""faults.py: what the disk, the memory or the user did is one line; a bug keeps its traceback."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path

import pytest

from pipeline.cli.faults import explain
from pipeline.errors import QueryError


def wrapped(error: BaseException, *causes: BaseException) -> BaseException:
    """An error as a library raises it: `raise error from cause`, and so on."""
    outer = error
    for cause in causes:
        error.__cause__ = error = cause
    return outer


@pytest.mark.parametrize("number", sorted(errno.errorcode))
def test_every_number_of_the_system_is_a_line_with_path_and_reason(number: int) -> None:
    line = explain(OSError(number, os.strerror(number), "/shop/index.faiss"))
    assert line is not None
    assert line.startswith(f"/shop/index.faiss: {os.strerror(number)}; ")
    assert "\n" not in line


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (QueryError("no such item", hint="see `imgsearch info`"), "no such item; see `imgsearch"),
        (OSError(errno.EFBIG, "File too large", b"/caf\xe9"), "/caf\udce9: File too large; "),
        (OSError(errno.EMFILE, "Too many open files"), "`ulimit -n`"),
        (OSError(errno.EACCES, "Permission denied", 7), "the disk that holds the indexes: "),
        (OSError("encoder error -2 when writing image file"), "encoder error -2"),
        (OSError(), "OSError"),
        (MemoryError("Unable to allocate 8 TiB"), "out of memory: Unable to allocate 8 TiB; "),
        (MemoryError(), "out of memory: no more of it; "),
        (sqlite3.OperationalError("disk I/O error"), "the catalog cannot be read or written: disk"),
        (sqlite3.DatabaseError("malformed"), "malformed; see `imgsearch verify`"),
        (RuntimeError("can't start new thread"), "`ulimit -u`"),
        (ImportError("libfoo.so: cannot open", name="faiss"), "a library cannot be loaded: libfoo"),
        (ImportError("x.so: failed to map segment from shared object", name="x"), "out of memory"),
        (ImportError("cannot allocate memory in static TLS block"), "out of memory: cannot alloc"),
        (UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates not allowed"), "not valid UTF-8"),
        (wrapped(RuntimeError("h5"), OSError(errno.EIO, "I/O error", "w.h5")), "w.h5: I/O error"),
        (wrapped(ValueError("x"), KeyError("y"), MemoryError("z")), "out of memory: z"),
    ],
)
def test_what_the_world_does_is_a_line(error: BaseException, expected: str) -> None:
    assert expected in (explain(error) or "")


def test_sqlite_says_what_to_do_by_its_code(tmp_path: Path) -> None:
    (tmp_path / "read only").write_bytes(b"")
    database = sqlite3.connect(f"file:{tmp_path / 'read only'}?mode=ro", uri=True)
    with pytest.raises(sqlite3.OperationalError) as caught:
        database.execute("CREATE TABLE a (b)")
    assert "see its permissions" in (explain(caught.value) or "")


@pytest.mark.parametrize(
    "bug",
    [
        TypeError("unsupported operand"),
        KeyError("k"),
        RuntimeError("dictionary changed size"),
        RecursionError("maximum recursion depth exceeded"),
        sqlite3.ProgrammingError("incorrect number of bindings"),
        UnicodeEncodeError("ascii", "é", 0, 1, "ordinal not in range(128)"),
        ImportError("cannot import name 'x'", name="pipeline.engine"),
        AssertionError(),
    ],
)
def test_a_bug_is_none(bug: BaseException) -> None:
    assert explain(bug) is None


def test_a_bug_in_the_handling_of_a_fault_is_a_bug() -> None:
    bug = KeyError("key")
    bug.__context__ = OSError(errno.EIO, "I/O error")
    assert explain(bug) is None
