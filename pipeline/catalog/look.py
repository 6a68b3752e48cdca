"""One look at a source: what it offers, compared with the ledger, before anything is written.

What is seen is kept in temporary tables of the ledger's connection, so that a look at millions of
items takes little memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from itertools import islice

from pipeline.catalog.catalog import Catalog
from pipeline.catalog.inspector import is_known
from pipeline.catalog.items import StoredItem, item_fields
from pipeline.catalog.left_out import is_unread, leave_out, look_at_mount_point, note_unread
from pipeline.catalog.renames import Place
from pipeline.sources.base import LeftOut, Offer, Skipped, SourceItem

DUPLICATE = "duplicate id"
NOT_OFFERED = "no longer in the source"
BATCH_SIZE = 32  # offers that are compared together; their photos may be in memory

_TABLES = {
    "offered": "key TEXT PRIMARY KEY, differs INTEGER NOT NULL DEFAULT 0, not_looked_at TEXT",
    "now_skipped": "row INTEGER, reason TEXT, key TEXT",
    "now_left_out": "path TEXT, kind TEXT, reason TEXT, is_unread INTEGER",
    "now_mounted": "path TEXT PRIMARY KEY",
    "places": "key TEXT, row_key TEXT, is_absent INTEGER, uri TEXT, path TEXT, size INTEGER,"
    " mtime_ns INTEGER, ctime_ns INTEGER, sha256 BLOB",  # see `renames.Place`
}
_NAMES = {
    table: ", ".join(column.split()[0] for column in columns.split(", "))
    for table, columns in _TABLES.items()
}
_OFFER = "INSERT OR IGNORE INTO offered (key) VALUES (:key)"
_DIFFERS = "UPDATE offered SET differs = :differs WHERE key = :key AND differs <> :differs"
_PLACE = (
    "INSERT INTO places VALUES"
    " (:key, :row_key, :is_absent, :uri, :path, :size, :mtime_ns, :ctime_ns, :sha256)"
)
_SKIP = "INSERT INTO now_skipped VALUES (:row, :reason, :key)"
_UNOFFERED = "state <> 'removed' AND NOT EXISTS (SELECT 1 FROM offered WHERE key = items.key)"
_UNOFFERED_IDS = f"SELECT id FROM items WHERE {_UNOFFERED}"  # noqa: S608
_FINISH = (  # the last one counts
    "DELETE FROM mount_points WHERE path NOT IN (SELECT path FROM now_mounted)",
    "INSERT OR IGNORE INTO mount_points SELECT path FROM now_mounted",
    "UPDATE items SET reason = not_looked_at FROM offered WHERE offered.key = items.key"
    " AND state = 'available' AND reason <> not_looked_at",
    f"UPDATE images SET state = 'removed', reason = '' WHERE item IN ({_UNOFFERED_IDS})",  # noqa: S608
    f"UPDATE items SET state = 'removed', reason = '{NOT_OFFERED}' WHERE {_UNOFFERED}",  # noqa: S608
)


class Look(AbstractContextManager["Look"]):
    """What a source offers now, beside what the ledger has of it.

    with Look(catalog) as look: changed = list(look.differing(source.items()))
    """

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.clear()

    def clear(self) -> None:
        """Forget what was seen."""
        self._drop()
        for table, columns in _TABLES.items():
            self.catalog.change(f"CREATE TEMP TABLE {table} ({columns})")
        self.catalog.change("CREATE INDEX temp.places_by_key ON places (key)")

    def __exit__(self, *_: object) -> None:
        self._drop()

    def _drop(self) -> None:
        for table in _TABLES:
            self.catalog.change(f"DROP TABLE IF EXISTS temp.{table}")

    def differing(self, offers: Iterable[Offer]) -> Iterator[SourceItem]:
        """Note every offer; yield the items that the ledger has not, or may have otherwise."""
        for batch in _batches(offers):
            items = [item for item in map(self._note, batch) if item]
            stored = self.catalog.stored_items([item.key for item in items])
            for item in items:
                if self._differs(item, stored.get(item.key)):
                    self.catalog.change(_DIFFERS, {"key": item.key, "differs": True})
                    self.catalog.change(_PLACE, vars(Place.of(item)))
                    yield item
        note_unread(self.catalog)

    def differing_again(self, offers: Iterable[Offer]) -> Iterator[SourceItem]:
        """Yield, of the same offers once more, the items that `differing` did, each once."""
        for offer in offers:
            if isinstance(offer, SourceItem) and self.catalog.change(
                _DIFFERS, {"key": offer.key, "differs": False}
            ):
                yield offer

    def finish(self) -> int:
        """Have the ledger say what else was seen, within a transaction; mark items as removed.

        Returns how many items have been removed because they were not offered.
        """
        for table in ("skipped", "left_out"):
            self._replace(table)
        for statement in _FINISH:
            changed = self.catalog.change(statement)
        return changed

    def _note(self, offer: Offer) -> SourceItem | None:
        """Note an offer; return it if it is an item to compare, and the first of its key."""
        if isinstance(offer, SourceItem):
            if not offer.photos and is_unread(self.catalog, offer.key):
                return None  # it stays as it is: see `note_unread`
            if self.catalog.change(_OFFER, {"key": offer.key}):
                return offer
            self._skip(offer.row, DUPLICATE, offer.key)
        elif isinstance(offer, Skipped):
            self._skip(offer.row, offer.reason)
        elif isinstance(offer, LeftOut):
            leave_out(self.catalog, offer)
        else:
            look_at_mount_point(self.catalog, offer)
        return None

    def _skip(self, row: int, reason: str, key: str = "") -> None:
        self.catalog.change(_SKIP, {"row": row, "reason": reason, "key": key})

    def _differs(self, item: SourceItem, stored: StoredItem | None) -> bool:
        if stored is None or len(item.photos) != len(stored.images):
            return True
        expected = item_fields(
            item.name, item.category, item.metadata, stored.images, item.without_photo, item.remark
        )
        return expected != stored.fields or not all(map(is_known, item.photos, stored.images))

    def _replace(self, table: str) -> None:
        """Write a table anew, if other rows were seen than it has."""
        both = f"FROM {table}", f"FROM now_{table}"
        counted = "SELECT *, COUNT(*) {} GROUP BY " + _NAMES[f"now_{table}"]
        for one, other in (both, both[::-1]):
            query = f"{counted.format(one)} EXCEPT {counted.format(other)} LIMIT 1"
            if any(self.catalog.select(query)):
                self.catalog.change(f"DELETE {both[0]}")
                self.catalog.change(f"INSERT INTO {table} SELECT * {both[1]}")
                return


def _batches(offers: Iterable[Offer]) -> Iterator[list[Offer]]:
    offers = iter(offers)
    return iter(lambda: list(islice(offers, BATCH_SIZE)), [])
