"""A column on the disk: SHA-256 of the rest · length of the head · head, as JSON · ids · codes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.artifacts import write_atomic
from pipeline.catalog.column_values import ColumnValues, Ids

_SHA256, _LENGTH = 32, 8  # bytes


Query = tuple[str, dict[str, str]]
"""SQL for the value of a column of `items`, and the parameters that it binds."""


@dataclass(frozen=True)
class KeptColumn:
    """A column as a generation of the ledger had it."""

    query: Query
    generation: int
    ids: Ids
    """(n,) int64: the items, ascending."""
    values: ColumnValues


def write_column(path: Path, kept: KeptColumn) -> None:
    """Keep a column in a file.

    It is not flushed: after a power cut the checksum tells.

    Raises:
        OSError: it cannot be written.
    """
    values = kept.values
    parts = {"generation": kept.generation, "numbers": values.numbers, "texts": values.texts}
    head = json.dumps({**parts, "items": len(kept.ids), "query": kept.query}).encode()
    length = len(head).to_bytes(_LENGTH, "little")
    ids, codes = kept.ids.astype("<i8").tobytes(), values.codes.astype("<i4").tobytes()
    data = b"".join((length, head, ids, codes))
    path.parent.mkdir(exist_ok=True)
    write_atomic(path, hashlib.sha256(data).digest() + data, flush=False)


def read_column(path: Path) -> KeptColumn | None:
    """Read what `write_column` wrote; None if it is not there, cannot be read, or has changed."""
    try:
        data = memoryview(path.read_bytes())
    except OSError:
        return None
    sha256, data = data[:_SHA256], data[_SHA256:]
    if hashlib.sha256(data).digest() != sha256:
        return None
    length = int.from_bytes(data[:_LENGTH], "little")
    head, data = json.loads(bytes(data[_LENGTH : _LENGTH + length])), data[_LENGTH + length :]
    ids = np.frombuffer(data, "<i8", head["items"])
    codes = np.frombuffer(data, "<i4", head["items"], offset=ids.nbytes)
    values = ColumnValues(codes.astype(np.int32), head["numbers"], head["texts"])
    if "query" not in head:  # as an earlier version of this program wrote it
        return None
    sql, parameters = head["query"]
    return KeptColumn((sql, parameters), head["generation"], ids.astype(np.int64), values)
