"""What a Milvus server holds of one index: a collection, which never changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from pipeline.artifacts import Manifest

ROW, SHARED, COLUMNS, VECTOR = "row", "shared", "columns", "vector"
"""Fields: the row's number, whether it has no columns (`columns.py`), these, and the vector."""
METRIC = "L2"


@dataclass(frozen=True)
class Collection:
    """The collection of one index, which a publication names."""

    name: str
    rows: int
    dim: int

    @classmethod
    def from_dict(cls, content: Manifest) -> Self:
        """Return what `asdict` was called on."""
        return cls(str(content["name"]), int(content["rows"]), int(content["dim"]))
