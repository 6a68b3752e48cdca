"""The items of the ledger: what a source offered, and the state in which each item ended."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from pipeline.catalog.ledger import Ledger
from pipeline.catalog.records import ImageRecord, ItemRecord, State

_COLUMNS = tuple(field.name for field in fields(ImageRecord))
_PUT_IMAGE = (
    f"INSERT INTO images (item, position, {', '.join(_COLUMNS)})"  # noqa: S608
    f" VALUES (?, ?{', ?' * len(_COLUMNS)}) ON CONFLICT (item, position) DO UPDATE SET "
    + ", ".join(f"{column} = excluded.{column}" for column in _COLUMNS)
)


class ItemLedger(Ledger):
    """A ledger of items. Writing is done within a `transaction()`."""

    def begin_ingest(self) -> int:
        """Forget what the last ingest skipped; return the number of a new run.

        Until `finish_ingest`, the catalog mixes two runs, and `is_unfinished` is true.
        """
        self._db.execute("DELETE FROM skipped")
        self.set_meta("unfinished", "ingest")
        return self.new_run()

    def finish_ingest(self, run: int) -> int:
        """End a run; return how many items have been removed because it was not offered them."""
        self.set_meta("unfinished", None)
        return self.remove_others(run)

    @property
    def is_unfinished(self) -> bool:
        """Whether an ingest was begun and interrupted."""
        return self.get_meta("unfinished") is not None

    def new_run(self) -> int:
        """Return a number for an ingest run, greater than those of all runs before it."""
        return int(self._db.execute("SELECT COALESCE(MAX(run), 0) + 1 FROM items").fetchone()[0])

    def remove_others(self, run: int) -> int:
        """Mark every item that run `run` was not offered as removed; return how many are new."""
        self._db.execute(
            "UPDATE images SET state = ?, reason = '' WHERE item IN"
            " (SELECT id FROM items WHERE run <> ?)",
            (State.REMOVED, run),
        )
        return self._db.execute(
            "UPDATE items SET state = ?, reason = 'no longer in the source'"
            " WHERE run <> ? AND state <> ?",
            (State.REMOVED, run, State.REMOVED),
        ).rowcount

    def put(
        self,
        run: int,
        key: str,
        name: str,
        category: str,
        metadata: Mapping[str, Any],
        images: Iterable[ImageRecord],
        without_photo: str = "no photo",
    ) -> bool:
        """Insert an item, or update the item with this key, which keeps its id.

        Returns False, and changes nothing, if this run has put an item with this key already.
        `without_photo` is the reason to record if there are no images.
        """
        images = list(images)
        state, reason = item_state(images, without_photo)
        row = (name, category, json.dumps(dict(metadata), sort_keys=True), state, reason, run, key)
        # Not an upsert: SQLite takes a new id for each, so a repeated run would change later ids.
        before = self._db.execute("SELECT id, run FROM items WHERE key = ?", (key,)).fetchone()
        if before and before["run"] == run:
            return False
        if before:
            item = before["id"]
            self._db.execute(
                "UPDATE items SET name = ?, category = ?, metadata = ?, state = ?, reason = ?,"
                " run = ? WHERE key = ?",
                row,
            )
        else:
            item = self._db.execute(
                "INSERT INTO items (name, category, metadata, state, reason, run, key)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                row,
            ).lastrowid
        self._db.execute("DELETE FROM images WHERE item = ? AND position >= ?", (item, len(images)))
        values = ([getattr(image, column) for column in _COLUMNS] for image in images)
        rows = ((item, position, *image) for position, image in enumerate(values))
        self._db.executemany(_PUT_IMAGE, rows)
        return True

    def skip(self, row: int, reason: str) -> None:
        """Record that a row of the source describes no item."""
        self._db.execute("INSERT INTO skipped VALUES (?, ?)", (row, reason))

    def settle(self, items: Iterable[int]) -> None:
        """Give items the state that follows from the present states of their images."""
        for item in items:
            state, reason = item_state(self.images(item))
            self._db.execute(
                "UPDATE items SET state = ?, reason = ? WHERE id = ?", (state, reason, item)
            )

    def counts(self) -> dict[str, dict[str, int]]:
        """Count rows of the source: state → reason → number. An available item has no reason."""
        return self.count(
            "SELECT state, reason, COUNT(*) FROM items GROUP BY state, reason UNION ALL"
            " SELECT :skipped, reason, COUNT(*) FROM skipped GROUP BY reason ORDER BY 1, 3 DESC, 2",
            {"skipped": State.SKIPPED},
        )

    def images(self, item: int) -> list[ImageRecord]:
        """Return an item's images in their order."""
        rows = self._db.execute(
            f"SELECT {', '.join(_COLUMNS)} FROM images WHERE item = ? ORDER BY position",  # noqa: S608
            (item,),
        )
        return [ImageRecord(row[0], State(row[1]), *row[2:]) for row in rows]

    def item(self, item: int) -> ItemRecord | None:
        """Return the item with this id, or None."""
        return self._item("id = ?", item) if 0 < item < 2**63 else None

    def item_by_key(self, key: str) -> ItemRecord | None:
        """Return the item that its source calls `key`, or None."""
        return self._item("key = ?", key)

    def _item(self, condition: str, value: Any) -> ItemRecord | None:
        row = self._db.execute(
            f"SELECT id, key, name, category, metadata, state, reason FROM items WHERE {condition}",  # noqa: S608
            (value,),
        ).fetchone()
        if row is None:
            return None
        parsed = {"metadata": json.loads(row["metadata"]), "state": State(row["state"])}
        return ItemRecord(**dict(row) | parsed)


def item_state(images: list[ImageRecord], without_photo: str = "no photo") -> tuple[State, str]:
    """Return an item's state and reason.

    It is available, or else pending, if any of its images is; else it ended as its first image did.
    """
    if not images:
        return State.FAILED, without_photo
    for state in (State.AVAILABLE, State.PENDING):
        if any(image.state is state for image in images):
            return state, ""
    return images[0].state, images[0].reason
