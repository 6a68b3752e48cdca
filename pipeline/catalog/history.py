"""SQL that keeps what rows of `items` and `images` were in sealed generations.

A generation is a state of the ledger. Each row has the generation `since` which its content is what
it is. When that changes after a generation was sealed, triggers keep the row in a table of history
(`since <= generation < until`), so whoever writes need not know of any of this. What changes within
one generation changes in place: until something is sealed, nothing is kept at all.
"""

from __future__ import annotations

CONTENT = {
    "items": ("key", "name", "category", "metadata", "state", "reason"),
    "images": (
        *("item", "position", "uri", "path", "size", "sha256", "width", "height"),
        *("state", "reason"),
    ),
}
"""Columns whose change is another version of a row."""
_LATEST = {
    "items": (),
    "images": ("mtime_ns", "status", "attempts", "tried_at", "seconds", "ctime_ns"),
}
"""Columns of every generation that are as they were written last: what was looked at, and when."""
NOW = "(SELECT COALESCE(MAX(number), 0) + 1 FROM generations)"
"""The generation that is being written."""
NEW_COLUMN = "since INTEGER NOT NULL DEFAULT 1"  # right as it is until something is sealed

_TABLES = """
CREATE TABLE IF NOT EXISTS generations (number INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS items_history (
    id INTEGER NOT NULL, key TEXT NOT NULL, name TEXT NOT NULL, category TEXT NOT NULL,
    metadata TEXT NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL,
    since INTEGER NOT NULL, until INTEGER NOT NULL, PRIMARY KEY (id, since)
);
CREATE INDEX IF NOT EXISTS items_history_by_key ON items_history (key);
CREATE TABLE IF NOT EXISTS images_history (
    id INTEGER NOT NULL, item INTEGER NOT NULL, position INTEGER NOT NULL, uri TEXT NOT NULL,
    path TEXT, size INTEGER, sha256 BLOB, width INTEGER, height INTEGER,
    state TEXT NOT NULL, reason TEXT NOT NULL, mtime_ns INTEGER, status INTEGER,
    attempts INTEGER NOT NULL, tried_at TEXT, seconds REAL, ctime_ns INTEGER,
    since INTEGER NOT NULL, until INTEGER NOT NULL, PRIMARY KEY (id, since)
);
CREATE INDEX IF NOT EXISTS images_history_by_item ON images_history (item, position);
CREATE INDEX IF NOT EXISTS images_history_by_photo ON images_history (sha256, state);
"""
# Rows of the first generation are no changes: the index on changes leaves them out.
_OF_TABLE = """
CREATE INDEX IF NOT EXISTS {table}_changed ON {table} (since) WHERE since > 1;
CREATE INDEX IF NOT EXISTS {table}_history_until ON {table}_history (until);
CREATE TRIGGER IF NOT EXISTS {table}_inserted AFTER INSERT ON {table}
WHEN NEW.since < {now} BEGIN
    UPDATE {table} SET since = {now} WHERE id = NEW.id;
END;
CREATE TRIGGER IF NOT EXISTS {table}_updated AFTER UPDATE OF {content} ON {table}
WHEN OLD.since < {now} AND ({old_content}) IS NOT ({new_content}) BEGIN
    INSERT INTO {table}_history ({columns}, since, until) VALUES ({old}, OLD.since, {now});
    UPDATE {table} SET since = {now} WHERE id = NEW.id;
END;
CREATE TRIGGER IF NOT EXISTS {table}_deleted AFTER DELETE ON {table}
WHEN OLD.since < {now} BEGIN
    INSERT INTO {table}_history ({columns}, since, until) VALUES ({old}, OLD.since, {now});
END;
"""


def columns(table: str) -> str:
    """Return the columns of `items` or `images` that every generation has, with commas."""
    return ", ".join(("id", *CONTENT[table], *_LATEST[table]))


def _prefixed(names: str, row: str) -> str:
    return ", ".join(f"{row}.{name}" for name in names.split(", "))


def _of_table(table: str) -> str:
    content = ", ".join(CONTENT[table])
    return _OF_TABLE.format(
        table=table,
        now=NOW,
        columns=columns(table),
        old=_prefixed(columns(table), "OLD"),
        content=content,
        old_content=_prefixed(content, "OLD"),
        new_content=_prefixed(content, "NEW"),
    )


HISTORY_SCHEMA = _TABLES + "".join(map(_of_table, CONTENT))


def at_generation(table: str, generation: int) -> str:
    """Return SQL that selects the rows that a sealed generation had, with the columns of `columns`.

    at_generation("items", 7)
    """
    names = columns(table)
    return (
        f"SELECT {names}, since FROM main.{table} WHERE since <= {generation:d} UNION ALL"  # noqa: S608
        f" SELECT {names}, since FROM main.{table}_history"
        f" WHERE since <= {generation:d} AND until > {generation:d}"
    )


def revert_unchanged(table: str) -> tuple[str, str]:
    """Return SQL that joins versions of rows that ended a generation as they had begun it."""
    content = ", ".join(CONTENT[table])
    same = f"({_prefixed(content, 'earlier')}) IS ({_prefixed(content, table)})"
    earlier = (
        f"FROM {table}_history AS earlier WHERE earlier.id = {table}.id"
        f" AND earlier.until = {table}.since AND {same}"
    )
    join = (
        f"UPDATE {table} SET since = (SELECT since {earlier})"  # noqa: S608
        f" WHERE since > 1 AND since = {NOW} AND EXISTS (SELECT 1 {earlier})"
    )
    drop = (
        f"DELETE FROM {table}_history WHERE until = {NOW} AND EXISTS"  # noqa: S608
        f" (SELECT 1 FROM {table} WHERE id = {table}_history.id AND since < {NOW})"
    )
    return join, drop
