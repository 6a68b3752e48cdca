"""A CSV file as a stream of rows, whatever its encoding, and whatever is wrong with its quotes."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from pipeline.concurrency import SharedContext
from pipeline.errors import SourceError
from pipeline.sources.structures import from_windows, valid

CsvRows = Generator[list[str] | None, None, None]

MAX_ROW_CHARS = 10_000_000  # so that a quote that is never closed takes no more memory than this
DELIMITERS = ",;\t|"
_SEP_LINE = re.compile(r'"?sep=([^"\r\n])"?\s*', re.IGNORECASE)  # as Excel writes it
_QUOTED = re.compile(r'"[^"]*"')


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
    delimiter: str | None = None,
    encoding: str | None = None,
    hint: str = "check the file and source.encoding",
    max_row_chars: int = MAX_ROW_CHARS,
) -> CsvRows:
    """Yield the fields of each row, the heading first; None for a row that cannot be read.

    A quote that is out of place, or never closed, spoils its own line and no other: reading goes
    on with the line after it. A first line `sep=;` names the delimiter; without it and without
    `delimiter`, the heading shows which of comma, semicolon, tab and bar it is. Without an
    `encoding` the text is UTF-16 if it begins with that mark, else UTF-8, with any other bytes in
    it read as Windows-1252. `.gz` files are unpacked. `hint` ends the error.

        heading, *rows = csv_rows(Path("products.csv"))

    Raises:
        SourceError: the file cannot be read.
    """
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as binary:
            text = io.TextIOWrapper(binary, *_decoding(binary, encoding), newline="")
            lines = _Lines(text, max_row_chars)
            delimiter = lines.find_delimiter(delimiter)
            reader = csv.reader(lines, delimiter=delimiter, strict=True)
            while True:
                lines.row.clear()
                try:
                    with _LONG_FIELDS:
                        fields = next(reader)
                    yield fields
                except StopIteration:
                    return
                except csv.Error:
                    # The first line left a quote open that the last line showed to be wrong, or
                    # the only line is wrong itself. All but the last are read separately, and the
                    # last as the beginning of a row: so no line is read more than three times.
                    *separate, last = lines.row
                    lines.pushed_back = last if separate else ""
                    for line in separate or [last]:
                        yield _single_line(line, delimiter, max_row_chars)
    except (OSError, EOFError, zlib.error, UnicodeError) as error:
        raise SourceError(f"cannot read it: {error}", where=path, hint=hint) from error


class _Lines:
    """The lines of a file; those of the current row are kept, to be read again if it fails."""

    def __init__(self, file: TextIO, max_row_chars: int) -> None:
        self.row: list[str] = []
        self.pushed_back = ""
        self._file = file
        self._max_chars = max_row_chars
        self._row_chars = 0
        self._is_first = True

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line, self.pushed_back = self.pushed_back or self._read(), ""
        if not line:
            raise StopIteration
        self._row_chars = len(line) + (self._row_chars if self.row else 0)
        self.row.append(line)
        if self._row_chars > self._max_chars:
            raise csv.Error("a row that does not end")
        return line

    def find_delimiter(self, delimiter: str | None) -> str:
        """Return what separates the fields; the next line is then the first that is not blank."""
        blank = DELIMITERS + " \r\n" + (delimiter or "")
        while (line := self._read()) and not line.strip(blank):
            pass
        if named := _SEP_LINE.fullmatch(line):
            return named[1]
        self.pushed_back = line
        return delimiter or max(DELIMITERS, key=_QUOTED.sub("", line).count)

    def _read(self) -> str:
        line = rest = self._file.readline(self._max_chars + 1)
        while len(rest) > self._max_chars and rest[-1] not in "\r\n":
            rest = self._file.readline(self._max_chars + 1)  # only the beginning of it is kept
        if self._is_first:
            self._is_first, line = False, line.removeprefix("\ufeff")
        if line.isascii():
            return line
        return valid(from_windows(line) if self._file.errors == "surrogateescape" else line)


def _single_line(line: str, delimiter: str, max_chars: int) -> list[str] | None:
    """Read one line, with quotes anywhere; None if a quote is still open at its end."""
    if len(line) > max_chars:
        return None
    reader = csv.reader([line, ""], delimiter=delimiter)
    with _LONG_FIELDS:
        fields = next(reader)
    return fields if reader.line_num == 1 else None  # an open quote also takes the second line


def _decoding(file: io.BufferedReader | gzip.GzipFile, encoding: str | None) -> tuple[str, str]:
    """Choose the encoding, and what to do with bytes that do not belong to it."""
    if encoding is not None:
        return encoding, "replace"
    if file.peek(2)[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return "utf-16", "replace"
    return "utf-8", "surrogateescape"
