"""The items of a catalog: what each has in its row and in those of its images."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

from pipeline.catalog.generations import Generations
from pipeline.catalog.ledger import CONTENT_INDEX
from pipeline.catalog.records import ImageRecord, ItemRecord, State

_COLUMNS = tuple(field.name for field in fields(ImageRecord))
_PUT_IMAGE = (
    f"INSERT INTO images (item, position, {', '.join(_COLUMNS)})"  # noqa: S608
    f" VALUES (:item, :position, :{', :'.join(_COLUMNS)}) ON CONFLICT (item, position) DO UPDATE"
    f" SET {', '.join(f'{column} = excluded.{column}' for column in _COLUMNS)}"
)
_encode = json.JSONEncoder(sort_keys=True).encode
_FIELDS = "name, category, metadata, state, reason"


@dataclass(frozen=True)
class StoredItem:
    """An item as its row and those of its images have it, to be compared with an offer."""

    id: int
    fields: tuple[str, ...]  # as of `item_fields`
    images: list[ImageRecord]


class Items(Generations):
    """The items in the ledger; they are written within a `transaction()`."""

    def begin_ingest(self) -> None:
        """Note that an ingest writes: until `finish_ingest`, the catalog mixes two states."""
        self.set_meta("unfinished", "ingest")
        self.set_meta("version", None)

    def finish_ingest(self, version: str | None) -> None:
        """Note that the catalog is what its source is, and which version of it."""
        self.set_meta("unfinished", None)
        self.set_meta("version", version)

    @contextmanager
    def without_content_index(self) -> Iterator[None]:
        """Write many images in this block, without the index of their content, which is made after.

        As hashes have no order, each batch would write most of that index again.
        """
        self._db.execute("DROP INDEX images_by_sha256")
        try:
            yield
        finally:
            self._db.execute(CONTENT_INDEX)

    @property
    def is_unfinished(self) -> bool:
        """Whether an ingest was begun and interrupted."""
        return self.get_meta("unfinished") is not None

    @property
    def has_items(self) -> bool:
        """Whether any item was ever ingested."""
        return any(self.select("SELECT 1 FROM items LIMIT 1"))

    def put(
        self,
        key: str,
        name: str,
        category: str,
        metadata: Mapping[str, Any],
        images: Sequence[ImageRecord],
        without_photo: str = "no photo",
        remark: str = "",
    ) -> bool:
        """Insert an item, or update the item with this key, which keeps its id.

        Only what differs is written; returns whether anything does. `without_photo` is the reason
        to record if there are no images, `remark` that of an available item.
        """
        row = item_fields(name, category, metadata, images, without_photo, remark)
        # Not an upsert: SQLite takes a new id for each, so a repeated run would change later ids.
        before = self.stored_items([key]).get(key)
        if before is None:
            insert = f"INSERT INTO items ({_FIELDS}, key) VALUES (?, ?, ?, ?, ?, ?)"  # noqa: S608
            item, stored = int(self._db.execute(insert, (*row, key)).lastrowid or 0), []
        else:
            item, stored = before.id, before.images
            if before.fields != row:
                update = f"UPDATE items SET ({_FIELDS}) = (?, ?, ?, ?, ?) WHERE id = ?"  # noqa: S608
                self._db.execute(update, (*row, item))
            elif stored == list(images):
                return False
        self._put_images(item, images, stored)
        return True

    def _put_images(
        self, item: int, images: Sequence[ImageRecord], stored: Sequence[ImageRecord]
    ) -> None:
        if len(stored) > len(images):
            delete = "DELETE FROM images WHERE item = ? AND position >= ?"
            self._db.execute(delete, (item, len(images)))
        for position, image in enumerate(images):
            if image not in stored[position : position + 1]:
                row = {**vars(image), "item": item, "position": position}
                self._db.execute(_PUT_IMAGE, row)

    def stored_items(self, keys: Sequence[str]) -> dict[str, StoredItem]:
        """Return, by their keys, those items of a few hundred that there are."""
        marks = ", ".join("?" * len(keys))
        rows = self._db.execute(
            f"SELECT id, key, {_FIELDS} FROM items WHERE key IN ({marks})",  # noqa: S608
            list(keys),
        ).fetchall()
        images: dict[int, list[ImageRecord]] = {row["id"]: [] for row in rows}
        marks = ", ".join(map(str, images))
        for item, *columns in self._db.execute(
            f"SELECT item, {', '.join(_COLUMNS)} FROM images WHERE item IN ({marks})"  # noqa: S608
            " ORDER BY item, position"
        ):
            images[item].append(self._image(item, columns))
        return {
            row["key"]: StoredItem(row["id"], tuple(row)[2:], images[row["id"]]) for row in rows
        }

    def settle(self, items: Iterable[int]) -> None:
        """Give items the state that follows from the present states of their images."""
        for item in items:
            row = (*item_state(self.images(item)), item)
            self._db.execute("UPDATE items SET state = ?, reason = ? WHERE id = ?", row)

    def counts(self) -> dict[str, dict[str, int]]:
        """Count rows of the source: state → reason → number.

        An available item has no reason, but a remark where there is something to say.
        """
        return self.count(
            "SELECT state, reason, COUNT(*) FROM items GROUP BY state, reason UNION ALL"
            " SELECT 'skipped', reason, COUNT(*) FROM skipped GROUP BY reason ORDER BY 1, 3 DESC, 2"
        )

    def images(self, item: int) -> list[ImageRecord]:
        """Return an item's images in their order."""
        query = f"SELECT {', '.join(_COLUMNS)} FROM images WHERE item = ? ORDER BY position"  # noqa: S608
        return [self._image(item, row) for row in self._db.execute(query, (item,))]

    def _image(self, item: int, row: Sequence[Any]) -> ImageRecord:
        try:
            return ImageRecord(row[0], State(row[1]), *row[2:])
        except ValueError as error:
            raise self.damaged(f"an image of item {item}: {error}") from error

    def item(self, item: int) -> ItemRecord | None:
        """Return the item with this id, or None.

        Raises:
            DamagedArtifactError: its row is not as it was written.
        """
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
        try:
            parsed = {"metadata": json.loads(row["metadata"]), "state": State(row["state"])}
        except ValueError as error:
            raise self.damaged(f"the row of item {row['id']}: {error}") from error
        return ItemRecord(**dict(row) | parsed)


def item_state(images: Sequence[ImageRecord], without_photo: str = "no photo") -> tuple[State, str]:
    """The state and reason of an item, which follow from its images.

    It is available, or else pending, if any of its images is; else it ended as its first image did.
    """
    if not images:
        return State.FAILED, without_photo
    for state in (State.AVAILABLE, State.PENDING):
        if any(image.state is state for image in images):
            return state, ""
    return images[0].state, images[0].reason


def item_fields(
    name: str,
    category: str,
    metadata: Mapping[str, Any],
    images: Sequence[ImageRecord],
    without_photo: str,
    remark: str,
) -> tuple[str, ...]:
    """What the row of an item has beside its id and key: name, category, metadata, state, reason.

    The arguments are those of `Catalog.put`.
    """
    state, reason = item_state(images, without_photo)
    reason = remark if state is State.AVAILABLE else reason
    return name, category, _encode(dict(metadata)), state, reason
