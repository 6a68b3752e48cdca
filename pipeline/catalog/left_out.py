"""What a source found and does not offer, as the ledger has it; items it could not look at stay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from pipeline.catalog.catalog import Catalog, State
from pipeline.catalog.stats import items_in_state
from pipeline.sources.base import NO_PHOTO, NO_ROW, LeftOut, MountPoint

Counts = Mapping[str, Mapping[str, int]]
"""State → reason → number."""

_MAX_EXAMPLES = 3


@dataclass(frozen=True)
class LeftOutCount:
    """How many files of a kind, such as `.xyz` or `folder`, are left out for a reason."""

    kind: str
    reason: str
    count: int


@dataclass(frozen=True)
class Unmatched:
    """How many rows of the metadata have no photo, or available photos no row, and the first."""

    count: int
    examples: tuple[str, ...]  # keys of items


def leave_out(catalog: Catalog, left_out: LeftOut) -> None:
    """Note a file or folder that the source does not offer."""
    statement = "INSERT INTO now_left_out VALUES (:path, :kind, :reason, :is_unread)"
    catalog.change(statement, asdict(left_out))


def look_at_mount_point(catalog: Catalog, folder: MountPoint) -> None:
    """Note what is mounted; an empty folder where something was is left out as unread."""
    seen = {"path": folder.path}
    if folder.is_mounted:
        catalog.change("INSERT OR IGNORE INTO now_mounted VALUES (:path)", seen)
    elif any(catalog.select("SELECT 1 FROM mount_points WHERE path = :path", seen)):
        catalog.change("INSERT OR IGNORE INTO now_mounted VALUES (:path)", seen)
        reason = "nothing is mounted there any more"
        leave_out(catalog, LeftOut(folder.path, "folder", reason, is_unread=True))


def left_out_counts(catalog: Catalog) -> list[LeftOutCount]:
    """Count what the last ingest left out, most files first."""
    query = "SELECT kind, reason, COUNT(*) FROM left_out GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2"
    return [LeftOutCount(*row) for row in catalog.select(query)]


def unmatched(catalog: Catalog, counts: Counts) -> dict[str, Unmatched]:
    """Say where rows and photos did not meet: `row` → rows without a photo, `photo` → the others.

    `counts` are those of the catalog. Empty if all did, or if no metadata describes the photos.
    """
    result = {}
    for unit, state, reason in (
        ("row", State.FAILED, NO_PHOTO),
        ("photo", State.AVAILABLE, NO_ROW),
    ):
        if count := counts.get(state, {}).get(reason, 0):
            first = items_in_state(catalog, state, reason, _MAX_EXAMPLES)
            result[unit] = Unmatched(count, tuple(item.key for item in first))
    return result


def is_unread(catalog: Catalog, key: str) -> bool:
    """Whether there is an item of this key, of a path where the source could not look."""
    found = catalog.select(
        "SELECT 1 FROM items WHERE key = :key AND state <> 'removed' AND EXISTS"
        " (SELECT 1 FROM now_left_out WHERE is_unread"
        "  AND substr(:key || '/', 1, length(path) + 1) = path || '/')",
        {"key": key},
    )
    return any(found)


def note_unread(catalog: Catalog) -> None:
    """Note, of all items where the source could not look, why: they stay as they are."""
    unread = "SELECT path, reason FROM now_left_out WHERE is_unread"
    for path, reason in list(catalog.select(unread)):
        catalog.change(
            "INSERT OR IGNORE INTO offered (key, not_looked_at) SELECT key, :reason FROM items"
            " WHERE state <> 'removed'"
            " AND (key = :path OR key >= :path || '/' AND key < :path || '0')",  # 0 comes after /
            {"path": path, "reason": f"not looked at: {reason}"},
        )
