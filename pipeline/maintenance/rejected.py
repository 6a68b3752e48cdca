"""Every photo, row and file of the source that is not in the catalog, each with the reason."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from pipeline.artifacts import replacing
from pipeline.catalog.catalog import Catalog
from pipeline.config import Config

_QUERY = """
SELECT uri, key, NULL, images.state, images.reason FROM images JOIN items ON items.id = item
    WHERE images.state IN ('failed', 'rejected')
UNION ALL SELECT NULL, key, NULL, state, reason FROM items
    WHERE state IN ('failed', 'rejected')
    AND NOT EXISTS (SELECT 1 FROM images WHERE item = items.id)
UNION ALL SELECT NULL, NULLIF(key, ''), NULLIF(row, 0), 'skipped', reason FROM skipped
UNION ALL SELECT path, NULL, NULL, 'left out', reason FROM left_out
"""


@dataclass(frozen=True)
class Rejected:
    """What is not in the catalog; of photo, item and row at least one is known."""

    photo: str | None  # its URL, or its path below the source's folder
    item: str | None  # the item's key
    row: int | None  # of a table, counted from 1 below the heading
    state: str  # failed, rejected, skipped (a row) or left out (a file)
    reason: str

    @property
    def place(self) -> str:
        """Where to look for it."""
        return self.photo or self.item or f"row {self.row}"


def rejected(config: Config) -> Iterator[Rejected]:
    """Stream what the last ingest and the downloads could not use, by state of the ledger.

        for entry in rejected(config): print(entry.place, entry.reason)

    Raises:
        NotBuiltError: there is no catalog yet.
    """
    with Catalog(config.folder) as catalog:
        for row in catalog.select(_QUERY):
            yield Rejected(*row)


def write_csv(file: Path, entries: Iterable[Rejected]) -> int:
    """Write a heading and a row for each entry to a file, UTF-8; return how many they are."""
    count = 0
    with replacing(file) as unfinished, unfinished.open("w", encoding="utf-8", newline="") as text:
        writer = csv.writer(text)
        writer.writerow(field.name for field in fields(Rejected))
        for entry in entries:
            writer.writerow(astuple(entry))
            count += 1
    return count
