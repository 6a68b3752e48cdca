"""The queue of downloads, which is a part of the ledger: URLs to fetch, and their outcomes.

A photo at a URL is *pending* until its first download ends. Many items may show the same URL: it
is fetched once, and all of them get its outcome.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from pipeline.catalog.catalog import Catalog
from pipeline.catalog.records import ImageRecord, State

_FIRST_OF_URL = (  # the first image of those that show a URL and are in one state
    "FROM images AS image"
    " WHERE state = :state AND id > :after AND (state = 'pending' OR tried_at IS NOT NULL)"
    " AND NOT EXISTS (SELECT 1 FROM images"
    "                 WHERE uri = image.uri AND state = :state AND id < image.id)"
)
_STORED_COLUMNS = "uri, path, size, sha256, width, height, status, tried_at, seconds"


@dataclass(frozen=True)
class DownloadQueue:
    """The images of a catalog that are at URLs, by their states."""

    catalog: Catalog

    def reuse_stored(self) -> None:
        """Make photos pending whose file is lost, and use stored files for pending photos.

        A photo that was downloaded once is remembered by its URL, even while no item shows it.
        """
        stored = self._stored_sizes()
        with self.catalog.transaction():
            images = self.catalog.select(
                "SELECT uri, path, size FROM images"
                " WHERE state = 'available' AND tried_at IS NOT NULL"
            )
            # Of millions of photos, every microsecond counts: no `Path`, and no sorting by SQLite.
            lost = [uri for uri, path, size in images if stored.get(_file_name(path)) != size]
            for uri in dict.fromkeys(lost):
                self._write(State.AVAILABLE, ImageRecord(uri, State.PENDING))
            remembered = self.catalog.select(
                f"SELECT {_STORED_COLUMNS} FROM downloads"  # noqa: S608
                " WHERE uri IN (SELECT uri FROM images WHERE state = 'pending')"
            )
            for row in list(remembered):
                if stored.get(_file_name(row["path"])) == row["size"]:
                    self._write(State.PENDING, ImageRecord(state=State.AVAILABLE, **row))

    def _stored_sizes(self) -> dict[str, int]:
        """Return the name and size of each stored photo.

        Raises:
            OSError: a folder cannot be read: its photos are not lost.
        """
        folder = self.catalog.folder / "images"
        parts = list(os.scandir(folder)) if folder.exists() else []
        return {
            file.name: file.stat().st_size
            for part in parts
            if re.fullmatch("[0-9a-f]{2}", part.name)
            for file in os.scandir(part)
            if file.is_file()
        }

    def count(self, state: State) -> int:
        """Count the distinct URLs whose photos are in a state."""
        query = f"SELECT COUNT(*) {_FIRST_OF_URL}"
        return int(next(self.catalog.select(query, {"state": state, "after": 0}))[0])

    def urls(self, state: State) -> Iterator[str]:
        """Stream the distinct URLs in a state; the ledger may be written to meanwhile."""
        query = f"SELECT id, uri {_FIRST_OF_URL}"
        return (row["uri"] for row in self.catalog.select_pages(query, {"state": state}))

    def record_outcome(self, state: State, record: ImageRecord) -> None:
        """Write the outcome of a URL whose images were in `state`, and commit."""
        with self.catalog.transaction():
            self._write(state, record)
            if record.state is State.AVAILABLE:
                self.catalog.change(
                    f"INSERT OR REPLACE INTO downloads ({_STORED_COLUMNS})"  # noqa: S608
                    f" VALUES (:{_STORED_COLUMNS.replace(', ', ', :')})",
                    vars(record),
                )

    def counts(self) -> dict[str, dict[str, int]]:
        """Count the images at URLs: state → reason → number; available ones have no reason."""
        return self.catalog.count(
            "SELECT state, reason, COUNT(*) FROM images"
            " WHERE state = 'pending' OR (tried_at IS NOT NULL AND state <> 'removed')"
            " GROUP BY state, reason ORDER BY 1, 3 DESC, 2"
        )

    def trouble_by_host(self) -> dict[str, dict[str, int]]:
        """Count the failed and rejected images: host → reason → number, the worst host first."""
        hosts: dict[str, Counter[str]] = {}
        for row in self.catalog.select(
            "SELECT uri, reason FROM images"
            " WHERE tried_at IS NOT NULL AND state IN ('failed', 'rejected') ORDER BY id"
        ):
            hosts.setdefault(_host(row["uri"]), Counter())[row["reason"]] += 1
        worst = sorted(hosts, key=lambda host: (-hosts[host].total(), host))
        return {host: dict(hosts[host].most_common()) for host in worst}

    def _write(self, state: State, record: ImageRecord) -> None:
        """Give the images of the record's URL that are in `state` the state of the record."""
        values = {**vars(record), "old": state}
        query = "SELECT item FROM images WHERE uri = :uri AND state = :old"
        items = {row["item"] for row in self.catalog.select(query, values)}
        self.catalog.change(
            "UPDATE images SET state = :state, reason = :reason, path = :path, size = :size,"
            " sha256 = :sha256, width = :width, height = :height, status = :status,"
            " attempts = attempts + :attempts, tried_at = :tried_at, seconds = :seconds"
            " WHERE uri = :uri AND state = :old",
            values,
        )
        self.catalog.settle(items)


def _host(url: str) -> str:
    try:
        return urlsplit(url).netloc.rpartition("@")[2] or "no host"
    except ValueError:
        return "no host"


def _file_name(path: str) -> str:
    return path.rpartition(os.sep)[2]
