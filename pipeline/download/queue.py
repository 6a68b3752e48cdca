"""The queue of downloads, which is a part of the ledger: URLs to fetch, and their outcomes.

A photo at a URL is *pending* until its first download ends. Many items may show the same URL: it
is fetched once, and all of them get its outcome.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pipeline.catalog.catalog import Catalog
from pipeline.catalog.records import ImageRecord, State

_FIRST_OF_URL = (  # the first image of those that show a URL and are in one state
    "state = :state AND id > :after AND (state = 'pending' OR tried_at IS NOT NULL)"
    " AND NOT EXISTS (SELECT 1 FROM images"
    "                 WHERE uri = image.uri AND state = :state AND id < image.id)"
)
_STORED_COLUMNS = "path, size, sha256, width, height, status, tried_at, seconds"
_REMEMBER = (
    f"INSERT OR REPLACE INTO downloads (uri, {_STORED_COLUMNS})"  # noqa: S608
    f" VALUES (:uri, :{_STORED_COLUMNS.replace(', ', ', :')})"
)
_STORED_BEFORE = (
    f"SELECT uri, {_STORED_COLUMNS} FROM downloads"  # noqa: S608
    " WHERE uri IN (SELECT uri FROM images WHERE state = 'pending')"
)
_OF_URLS = "WHERE state = 'pending' OR (tried_at IS NOT NULL AND state <> 'removed')"


@dataclass(frozen=True)
class DownloadQueue:
    """The images of a catalog that are at URLs, by their states."""

    catalog: Catalog

    def reuse_stored(self) -> None:
        """Make photos pending whose file is lost, and use stored files for pending photos.

        A photo that was downloaded once is remembered by its URL, even while no item shows it.
        """
        stored = dict(self._stored())
        with self.catalog.transaction():
            lost = [
                row["uri"]
                for row in self.catalog.select(
                    "SELECT DISTINCT uri, path, size FROM images"
                    " WHERE state = :available AND tried_at IS NOT NULL",
                    {"available": State.AVAILABLE},
                )
                if stored.get(Path(row["path"]).name) != row["size"]
            ]
            for uri in lost:
                self._write(uri, State.AVAILABLE, ImageRecord(uri, State.PENDING))
            for row in list(self.catalog.select(_STORED_BEFORE)):
                if stored.get(Path(row["path"]).name) == row["size"]:
                    uri, stored_as = row["uri"], dict(row)
                    del stored_as["uri"]
                    self._write(uri, State.PENDING, ImageRecord(uri, State.AVAILABLE, **stored_as))

    def _stored(self) -> Iterator[tuple[str, int]]:
        """Name and size of each stored photo."""
        for part in (self.catalog.folder / "images").glob("[0-9a-f][0-9a-f]"):
            with os.scandir(part) as files:
                yield from ((file.name, file.stat().st_size) for file in files)

    def count(self, state: State) -> int:
        """Count the distinct URLs whose photos are in a state."""
        query = f"SELECT COUNT(*) FROM images AS image WHERE {_FIRST_OF_URL}"  # noqa: S608
        return int(next(self.catalog.select(query, {"state": state, "after": 0}))[0])

    def urls(self, state: State) -> Iterator[str]:
        """Stream the distinct URLs in a state; the ledger may be written to meanwhile."""
        query = f"SELECT id, uri FROM images AS image WHERE {_FIRST_OF_URL}"  # noqa: S608
        return (row["uri"] for row in self.catalog.select_pages(query, {"state": state}))

    def record_outcome(self, state: State, record: ImageRecord) -> None:
        """Write the outcome of a URL whose images were in `state`, and commit."""
        with self.catalog.transaction():
            self._write(record.uri, state, record)
            if record.state is State.AVAILABLE:
                self.catalog.change(_REMEMBER, vars(record))

    def counts(self) -> dict[str, dict[str, int]]:
        """Count the images at URLs: state → reason → number; available ones have no reason."""
        return self.catalog.count(
            f"SELECT state, reason, COUNT(*) FROM images {_OF_URLS}"  # noqa: S608
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

    def _write(self, uri: str, state: State, record: ImageRecord) -> None:
        items = {
            row["item"]
            for row in self.catalog.select(
                "SELECT item FROM images WHERE uri = :uri AND state = :state",
                {"uri": uri, "state": state},
            )
        }
        self.catalog.change(
            "UPDATE images SET state = :new, reason = :reason, path = :path, size = :size,"
            " sha256 = :sha256, width = :width, height = :height, status = :status,"
            " attempts = attempts + :attempts, tried_at = :tried_at, seconds = :seconds"
            " WHERE uri = :uri AND state = :state",
            {**vars(record), "uri": uri, "state": state, "new": record.state},
        )
        self.catalog.settle(items)


def _host(url: str) -> str:
    try:
        return urlsplit(url).netloc.rpartition("@")[2] or "no host"
    except ValueError:
        return "no host"
