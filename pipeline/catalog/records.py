"""The rows of the catalog, as the rest of the program sees them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any


class State(StrEnum):
    """How an item, or an image of it, ended."""

    AVAILABLE = "available"
    PENDING = "pending"  # at a URL, and not downloaded yet
    FAILED = "failed"  # the photo could not be read or downloaded
    REJECTED = "rejected"  # the photo is there, and is not acceptable
    SKIPPED = "skipped"  # a row of the source that describes no item
    REMOVED = "removed"  # the source no longer offers the item


@dataclass(frozen=True)
class ImageRecord:
    """One image of an item, as the ledger stores it."""

    uri: str
    state: State
    reason: str = ""
    path: str | None = None  # absolute for a user's file; in the catalog's folder for a stored one
    size: int | None = None  # in bytes
    mtime_ns: int | None = None  # as `in_range` has it
    sha256: bytes | None = None
    width: int | None = None  # of the photo as it arrived, in pixels; what is stored may be smaller
    height: int | None = None
    status: int | None = None  # HTTP status of the last response to a download
    attempts: int = 0  # requests made to download it, over all runs
    tried_at: str | None = None  # when its last download ended, UTC as ISO 8601; None for a file
    seconds: float | None = None  # how long that took, from its first request to its end
    ctime_ns: int | None = None  # as `in_range` has it


def in_range(number: int) -> int:
    """Return the nearest integer that SQLite can hold: file systems have times beyond 2262."""
    return max(-(2**63), min(number, 2**63 - 1))


@dataclass(frozen=True)
class ItemRecord:
    """One item, as the ledger stores it."""

    id: int
    key: str
    name: str
    category: str
    metadata: Mapping[str, Any]
    state: State
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Return what answers say of it, as JSON-able values."""
        names = ("id", "key", "name", "category")
        return {name: getattr(self, name) for name in names} | {"metadata": dict(self.metadata)}


@dataclass(frozen=True)
class Photo:
    """A distinct available image: its content and where to read it."""

    id: int  # the smallest of the images that show it
    sha256: bytes
    file: str | Path

    @property
    def path(self) -> Path:
        """Where to read it; a `Path` only when asked for, as there may be millions."""
        return Path(self.file)
