"""The part of the ledger that downloads work on: what is to be fetched, and what became of it.

A photo at a URL is *pending* until its first download ends. The same URL may be an image of many
items: it is fetched once, and all of them end alike.
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

_FIRST = (  # of the images that show a URL and are in one state
    "state = :state AND id > :after AND (state = 'pending' OR tried_at IS NOT NULL)"
    " AND NOT EXISTS (SELECT 1 FROM images"
    "                 WHERE uri = image.uri AND state = :state AND id < image.id)"
)
_CAME = "path, size, sha256, width, height, status, tried_at, seconds"
_CAME_BEFORE = (
    f"SELECT uri, {_CAME} FROM downloads"  # noqa: S608
    " WHERE uri IN (SELECT uri FROM images WHERE state = 'pending')"
)
_OF_URLS = "WHERE state = 'pending' OR (tried_at IS NOT NULL AND state <> 'removed')"


@dataclass(frozen=True)
class Downloads:
    """The images at URLs that a catalog has, and how they ended."""

    catalog: Catalog

    def settle_known(self) -> None:
        """Make pending what has lost its file; and end what is pending, but has come before.

        A photo that came once is remembered by its URL, also while no item shows it.
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
                self._end(uri, State.AVAILABLE, ImageRecord(uri, State.PENDING))
            for row in list(self.catalog.select(_CAME_BEFORE)):
                if stored.get(Path(row["path"]).name) == row["size"]:
                    uri, came = row["uri"], dict(row)
                    del came["uri"]
                    self._end(uri, State.PENDING, ImageRecord(uri, State.AVAILABLE, **came))

    def _stored(self) -> Iterator[tuple[str, int]]:
        """Name and size of each stored photo."""
        for part in (self.catalog.folder / "images").glob("[0-9a-f][0-9a-f]"):
            with os.scandir(part) as files:
                yield from ((file.name, file.stat().st_size) for file in files)

    def count(self, state: State) -> int:
        """Count the distinct URLs whose photos are in a state."""
        query = f"SELECT COUNT(*) FROM images AS image WHERE {_FIRST}"  # noqa: S608
        return int(next(self.catalog.select(query, {"state": state, "after": 0}))[0])

    def urls(self, state: State) -> Iterator[str]:
        """Stream these URLs, each once; the ledger may be written to meanwhile."""
        query = f"SELECT id, uri FROM images AS image WHERE {_FIRST}"  # noqa: S608
        return (row["uri"] for row in self.catalog.select_pages(query, {"state": state}))

    def end(self, state: State, record: ImageRecord) -> None:
        """Record what became of a URL whose images were in `state`, and commit."""
        with self.catalog.transaction():
            self._end(record.uri, state, record)
            if record.state is State.AVAILABLE:
                self.catalog.change(
                    f"INSERT OR REPLACE INTO downloads (uri, {_CAME}) VALUES (:uri, :path, :size,"  # noqa: S608
                    " :sha256, :width, :height, :status, :tried_at, :seconds)",
                    vars(record),
                )

    def counts(self) -> dict[str, dict[str, int]]:
        """Count the images at URLs: state → reason → number; available ones have no reason."""
        return self.catalog.count(
            f"SELECT state, reason, COUNT(*) FROM images {_OF_URLS}"  # noqa: S608
            " GROUP BY state, reason ORDER BY 1, 3 DESC, 2"
        )

    def trouble_by_host(self) -> dict[str, dict[str, int]]:
        """Count the images that ended otherwise: host → reason → number, the worst first."""
        hosts: dict[str, Counter[str]] = {}
        for row in self.catalog.select(
            "SELECT uri, reason FROM images"
            " WHERE tried_at IS NOT NULL AND state IN ('failed', 'rejected') ORDER BY id"
        ):
            hosts.setdefault(_host(row["uri"]), Counter())[row["reason"]] += 1
        worst = sorted(hosts, key=lambda host: (-hosts[host].total(), host))
        return {host: dict(hosts[host].most_common()) for host in worst}

    def _end(self, uri: str, state: State, record: ImageRecord) -> None:
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
