"""Rows of a table in a stream: a CSV or Parquet file → its heading, then the cells of each row."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import zlib
from collections.abc import Generator
from pathlib import Path
from typing import Any, TextIO

from pipeline.errors import SourceError
from pipeline.sources.structures import plain, valid

CsvRows = Generator[list[str] | None, None, None]
ParquetRows = Generator[list[Any], None, None]

MANY = 10_000_000  # characters in one row of a CSV file: a quote never closed takes no more memory
_BATCH = 256  # rows of a Parquet file: some have whole photos in their columns


def _as_cp1252(error: UnicodeError) -> tuple[str, int]:
    """Read bytes that are not UTF-8 as Windows-1252, which is what they nearly always are."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return error.object[error.start : error.end].decode("cp1252", "replace"), error.end


codecs.register_error("cp1252", _as_cp1252)


def csv_rows(path: Path, delimiter: str, encoding: str | None) -> CsvRows:
    """Yield the fields of each row, the heading first; None for a row that cannot be made out.

    A quote that is out of place, or never closed, spoils its own line and no other: reading goes
    on with the line after it. Without an encoding the text is UTF-16 if it begins with that mark,
    else UTF-8, with any other bytes in it read as Windows-1252. `.gz` files are unpacked.

    Raises:
        SourceError: the file cannot be read.
    """
    csv.field_size_limit(MANY)
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as binary:
            lines = _Lines(io.TextIOWrapper(binary, *_decoding(binary, encoding), newline=""))
            reader = csv.reader(lines, delimiter=delimiter, strict=True)
            while True:
                lines.taken.clear()
                try:
                    yield next(reader)
                except StopIteration:
                    return
                except csv.Error:
                    # The first line left a quote open that the last found to be wrong, or the
                    # only one is wrong itself. All but the last are read by themselves, and the
                    # last as the beginning of a row: so no line is read more than three times.
                    *alone, last = lines.taken
                    lines.again = last if alone else ""
                    for line in alone or [last]:
                        yield _alone(line, delimiter)
    except (OSError, EOFError, zlib.error, UnicodeError) as error:
        raise SourceError(
            f"{path}: cannot read it: {error}; check the file and source.encoding"
        ) from error


def parquet_count(path: Path) -> int:
    """Count the rows of a Parquet file without reading them.

    Raises:
        SourceError: it is no Parquet file.
    """
    with _parquet(path) as file:
        return int(file.metadata.num_rows)


def parquet_rows(path: Path) -> ParquetRows:
    """Yield the cells of each row as JSON-able values, the heading first.

    Raises:
        SourceError: it is no Parquet file, or a damaged one.
    """
    import pyarrow as pa

    try:
        with _parquet(path) as file:
            yield list(file.schema_arrow.names)
            for batch in file.iter_batches(_BATCH):
                for row in zip(*map(_values, batch.columns), strict=True):
                    yield [plain(value) for value in row]
    except (OSError, ValueError, pa.ArrowException) as error:
        raise SourceError(f"{path}: cannot read it: {_line(error)}; write the file anew") from error


class _Lines:
    """The lines of a file; those of the row being read are kept, to be read again if it fails."""

    def __init__(self, file: TextIO) -> None:
        self.file = file
        self.taken: list[str] = []
        self.again = ""
        self._size = 0
        self._first = True

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line, self.again = self.again or self._read(), ""
        if not line:
            raise StopIteration
        self._size = len(line) + (self._size if self.taken else 0)
        self.taken.append(line)
        if self._size > MANY:
            raise csv.Error("a row that does not end")
        return line

    def _read(self) -> str:
        line = rest = self.file.readline(MANY + 1)
        while len(rest) > MANY and rest[-1] not in "\r\n":
            rest = self.file.readline(MANY + 1)  # only the beginning of such a line is kept
        if self._first:
            self._first, line = False, line.removeprefix("\ufeff")
        return line if line.isascii() else valid(line)


def _alone(line: str, delimiter: str) -> list[str] | None:
    """Read a line by itself, with quotes anywhere; None if one is still open at its end."""
    if len(line) > MANY:
        return None
    reader = csv.reader([line, ""], delimiter=delimiter)
    row = next(reader)
    return row if reader.line_num == 1 else None  # the second line is taken into an open quote


def _decoding(file: io.BufferedReader | gzip.GzipFile, encoding: str | None) -> tuple[str, str]:
    """Choose the encoding, and what to do with bytes that do not belong to it."""
    if encoding is not None:
        return encoding, "replace"
    if file.peek(2)[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return "utf-16", "replace"
    return "utf-8", "cp1252"


def _parquet(path: Path) -> Any:
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

    try:
        return ParquetFile(path)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise SourceError(
            f"{path}: not a Parquet file ({_line(error)}); name a CSV file .csv"
        ) from error


def _values(column: Any) -> list[Any]:
    import pyarrow as pa

    if pa.types.is_temporal(column.type):
        column = column.cast(pa.string())  # Python's dates end in the year 9999 and at microseconds
    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:
        texts = column.cast(pa.binary()).to_pylist()
        return [text and text.decode("utf-8", "cp1252") for text in texts]


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())
