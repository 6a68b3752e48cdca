"""What keeps an ingest from removing items that are out of reach rather than gone.

A drive that is not mounted looks like a folder from which everything was deleted. Such a look at
the source changes nothing: it is held, until the source is as it was, or the removals are accepted.
"""

from __future__ import annotations

from collections.abc import Collection

from pipeline.catalog.catalog import Catalog
from pipeline.catalog.renames import Move
from pipeline.sources.base import PhotoFolder, Source

MIN_ITEMS = 50
MAX_SHARE = 0.2
"""More than this share of all items, and at least so many, are not removed unless accepted."""

_LIVE = "SELECT COUNT(*) FROM items WHERE state <> 'removed'"
_UNOFFERED = (
    "SELECT COUNT(*) FROM items WHERE state <> 'removed'"
    " AND NOT EXISTS (SELECT 1 FROM offered WHERE offered.key = items.key)"
)
_WITHOUT_PHOTO = (  # where there was one
    "SELECT COUNT(*) FROM places JOIN items USING (key) WHERE is_absent AND state = 'available'"
)
_OTHER_PHOTOS = (
    "SELECT COUNT(*) FROM places JOIN items USING (key) JOIN images ON item = items.id"
    " WHERE items.state = 'available' AND images.size <> places.size"
)


def reason_to_hold(source: Source, catalog: Catalog, moves: Collection[Move]) -> str | None:
    """Say why what the source offers, all of which was looked at, is not to be ingested, if so.

    `moves` are the items that are somewhere else in the source now.
    """
    live, lost = _count(catalog, _LIVE), _lost(catalog, moves)
    would = f"{lost:,} of {live:,} items would be removed"
    if not live:
        return None
    if live == lost and not any(catalog.select("SELECT 1 FROM offered LIMIT 1")):
        return f"the source is empty: {would}"
    if lost >= MIN_ITEMS and lost > MAX_SHARE * live:
        return would
    before = catalog.get_meta("root")
    if not isinstance(source, PhotoFolder) or before in (None, root_of(source)):
        return None
    others = _count(catalog, _OTHER_PHOTOS)
    if lost or others > MAX_SHARE * live:
        what = would if lost else f"{others:,} of {live:,} items would show another photo"
        return f"{source.path} is another folder or drive than it was: {what}"
    return None


def root_of(source: Source) -> str | None:
    """Return the device and inode of the folder of a source that has one."""
    if not isinstance(source, PhotoFolder):
        return None
    status = source.path.stat()
    return f"{status.st_dev}:{status.st_ino}"


def has_live_items(catalog: Catalog) -> bool:
    """Whether there is anything that could be removed."""
    return _count(catalog, _LIVE) > 0


def _lost(catalog: Catalog, moves: Collection[Move]) -> int:
    """Count the items that would be removed, or be without the photo that they have."""
    missing = _count(catalog, _UNOFFERED) + _count(catalog, _WITHOUT_PHOTO)
    found = sum(move.item.is_missing for move in moves)
    moving = {move.item.id for move in moves}
    keys = (catalog.item_by_key(move.place.key) for move in moves)
    displaced = sum(
        1 for item in keys if item and item.state != "removed" and item.id not in moving
    )
    return missing - found + displaced


def _count(catalog: Catalog, query: str) -> int:
    return int(next(catalog.select(query))[0])
