"""A Parquet file as a stream of rows."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

from pipeline.errors import SourceError
from pipeline.sources.base import check_regular
from pipeline.sources.structures import decode_utf8, plain

ParquetRows = Generator[list[Any], None, None]

_BATCH_ROWS = 256  # few, as some files have whole photos in their columns


def parquet_count(path: Path) -> int:
    """Count the rows of a Parquet file without reading them.

    Raises:
        SourceError: it is no Parquet file.
    """
    with _open(path) as file:
        return int(file.metadata.num_rows)


def parquet_rows(path: Path) -> ParquetRows:
    """Yield the cells of each row as JSON-able values, the heading first.

    Raises:
        SourceError: it is no Parquet file, or a damaged one.
    """
    import pyarrow as pa

    try:
        with _open(path) as file:
            yield list(file.schema_arrow.names)
            for batch in file.iter_batches(_BATCH_ROWS):
                for row in zip(*map(_values, batch.columns), strict=True):
                    yield [plain(value) for value in row]
    except (OSError, ValueError, pa.ArrowException) as error:
        message = f"cannot read it: {_one_line(error)}"
        raise SourceError(message, where=path, hint="write the file anew") from error


def _open(path: Path) -> Any:
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

    check_regular(path)
    try:
        return ParquetFile(path)
    except (OSError, ValueError, pa.ArrowException) as error:
        message = f"not a Parquet file ({_one_line(error)})"
        raise SourceError(message, where=path, hint="name a CSV file .csv") from error


def _values(column: Any) -> list[Any]:
    import pyarrow as pa

    if pa.types.is_temporal(column.type):
        column = column.cast(pa.string())  # Python's dates end in the year 9999 and at microseconds
    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:
        return [text and decode_utf8(text) for text in column.cast(pa.binary()).to_pylist()]


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
