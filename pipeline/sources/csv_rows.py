"""A CSV file as a stream of rows, whatever is wrong with its quotes."""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from pipeline.concurrency import SharedContext
from pipeline.config import CsvSettings
from pipeline.sources.csv_dialect import DELIMITERS, CsvFormat, Dialect, guess_dialect
from pipeline.sources.structures import from_windows, valid
from pipeline.sources.text_file import open_text

CsvRows = Generator[list[str] | None, None, None]

MAX_ROW_CHARS = 10_000_000  # so that a quote that is never closed takes no more memory than this
_SAMPLE_LINES, _SAMPLE_CHARS = 200, 64_000  # from which the dialect is guessed
# As Excel writes it, with the delimiters that it adds when it saves the file once more.
_SEP_LINE = re.compile(rf'"?sep=([^"\r\n])"?[{DELIMITERS}\s]*', re.IGNORECASE)
_AS_IT_SHOWS = CsvSettings()


@contextmanager
def _lift_field_limit() -> Iterator[None]:
    """Allow fields of any length; the length of whole rows is limited here instead."""
    before = csv.field_size_limit(2**31 - 1)
    try:
        yield
    finally:
        csv.field_size_limit(before)


_LONG_FIELDS = SharedContext(_lift_field_limit)  # csv's limit belongs to the whole process


def csv_rows(
    path: Path,
    how: CsvFormat = _AS_IT_SHOWS,
    setting: str = "source",
    max_row_chars: int = MAX_ROW_CHARS,
) -> CsvRows:
    r"""Yield the fields of each row, the heading first; None for a row that cannot be read.

    A quote that is out of place, or never closed, spoils its own line and no other: reading goes
    on with the line after it. What `how` leaves open the file shows: a first line `sep=;` names the
    delimiter, without it the first rows show which of comma, semicolon, tab and bar it is, and
    whether a backslash escapes quotes; a row that is no row otherwise may have such escapes
    anywhere. Encodings and packed files are as in `open_text`, and bytes that are not UTF-8 are
    read as Windows-1252. `setting` is where `how` is in the settings, for errors.

        heading, *rows = csv_rows(Path("products.csv"))

    Raises:
        SourceError: the file cannot be read, or is another kind of file.
    """
    with open_text(path, how.encoding, setting) as text:
        lines = _Lines(text, max_row_chars)
        dialect = lines.find_dialect(how)
        reader = dialect.read(lines)
        while True:
            lines.row.clear()
            try:
                with _LONG_FIELDS:
                    fields = next(reader)
                yield fields
            except StopIteration:
                return
            except csv.Error:
                # The first line left a quote open that the last line showed to be wrong, or the
                # only line is wrong itself. All but the last are read separately, and the last as
                # the beginning of a row: so no line is read more than three times.
                *separate, last = lines.row
                lines.ahead.extendleft([last] if separate else [])
                for line in separate or [last]:
                    yield _single_line(line, dialect, max_row_chars)


class _Lines:
    """The lines of a file; those of the current row are kept, to be read again if it fails."""

    def __init__(self, file: TextIO, max_row_chars: int) -> None:
        self.row: list[str] = []
        self.ahead: deque[str] = deque()
        """Lines that were taken from the file and are to come next."""
        self._file = file
        self._max_chars = max_row_chars
        self._row_chars = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self.ahead.popleft() if self.ahead else self._read()
        if not line:
            raise StopIteration
        if not self.row:
            line = line.lstrip("\ufeff")  # files that were put together each bring their mark
        self._row_chars = len(line) + (self._row_chars if self.row else 0)
        self.row.append(line)
        if self._row_chars > self._max_chars:
            raise csv.Error("a row that does not end")
        return line

    def find_dialect(self, how: CsvFormat) -> Dialect:
        """Find how the file is written; the next line is then the first that is not blank."""
        blank = DELIMITERS + "\ufeff \r\n" + (how.delimiter or "")
        while (line := self._read()) and not line.strip(blank):
            pass
        if named := _SEP_LINE.fullmatch(line.lstrip("\ufeff")):
            how = CsvSettings(delimiter=how.delimiter or named[1], escape=how.escape)
            line = self._read()
        self.ahead.extend(self._sample(line.lstrip("\ufeff")))
        with _LONG_FIELDS:
            return guess_dialect(self.ahead, how)

    def _sample(self, line: str) -> Iterator[str]:
        lines = chars = 0
        while line:
            yield line
            lines, chars = lines + 1, chars + len(line)
            if lines == _SAMPLE_LINES or chars > _SAMPLE_CHARS:
                return
            line = self._read()

    def _read(self) -> str:
        line = rest = self._file.readline(self._max_chars + 1)
        while len(rest) > self._max_chars and rest[-1] not in "\r\n":
            rest = self._file.readline(self._max_chars + 1)  # only the beginning of it is kept
        if line.isascii():
            return line
        return valid(from_windows(line) if self._file.errors == "surrogateescape" else line)


def _single_line(line: str, dialect: Dialect, max_chars: int) -> list[str] | None:
    """Read one line, with quotes anywhere; None if a quote is still open at its end."""
    if len(line) > max_chars:
        return None
    other = replace(dialect, escape=None if dialect.escape else "\\")
    attempts = [(dialect, True), (other, True), (dialect, False)]
    rows = (_whole_row(line, *attempt) for attempt in attempts)
    return next((row for row in rows if row is not None), None)


def _whole_row(line: str, dialect: Dialect, strict: bool) -> list[str] | None:
    lines = iter([line, "", ""])  # an open quote also takes the second line
    try:
        with _LONG_FIELDS:
            fields = next(dialect.read(lines, strict=strict))
    except csv.Error:
        return None
    return fields if len(list(lines)) == 2 else None
