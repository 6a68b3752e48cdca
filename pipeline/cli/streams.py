"""The program's stdout and stderr: every text can be written, and what cannot says where."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

STDOUT = "stdout"


@contextmanager
def standard_streams() -> Iterator[None]:
    """Escape, within the block, what the encodings of stdout and stderr cannot hold.

    An OSError of stdout has `filename` "stdout". What it did not take is dropped after the block:
    Python would try again, and fail, when the program ends.
    """
    _open_closed_ones()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    stdout = sys.stdout
    sys.stdout = cast("TextIO", _Named(stdout)) if stdout else stdout
    try:
        yield
    finally:
        sys.stdout = stdout
        _drop_unwritten(stdout)


def _open_closed_ones() -> None:
    """Lead a closed stream nowhere: the next file that is opened would get its number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def _drop_unwritten(stream: TextIO | None) -> None:
    try:
        if stream:
            stream.flush()
    except OSError:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


class _Named:
    """A stream that says in its errors that it is stdout."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with _naming_stdout():
            return self._stream.write(text)

    def flush(self) -> None:
        with _naming_stdout():
            self._stream.flush()


@contextmanager
def _naming_stdout() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        error.filename = STDOUT
        raise
