"""Generations of the ledger: sealed states of all its items, each of which can still be read.

    generation = catalog.seal_generation()
    with Catalog(folder, generation=generation) as then: then.item(7)  # whatever is written since

What the source skipped or left out, and downloads, are known of the last run only.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.catalog import word_index
from pipeline.catalog.history import CONTENT, NOW, at_generation, revert_unchanged
from pipeline.catalog.ledger import PAGE_SIZE, Ledger
from pipeline.errors import NotBuiltError

Ids = npt.NDArray[np.int64]


def _changes(after: int) -> str:
    """SQL for the items of which a row began or ended in a generation > :after, up to :to."""
    is_indexed = "since > 1 AND" if after >= 1 else ""
    return " UNION ALL ".join(
        f"SELECT {item} FROM main.{table}"  # noqa: S608
        f" WHERE {is_indexed} since > :after AND since <= :to"
        f" UNION ALL SELECT {item} FROM main.{table}_history"
        " WHERE until > :after AND (until <= :to OR since > :after AND since <= :to)"
        for table, item in (("items", "id"), ("images", "item"))
    )


class Generations(Ledger):
    """A ledger as it is, or as a sealed generation had it."""

    def __init__(
        self,
        folder: Path,
        *,
        create: bool = False,
        any_thread: bool = False,
        page_size: int = PAGE_SIZE,
        generation: int | None = None,
    ) -> None:
        """Open the ledger as it is; with `generation`, for reading what a sealed generation had.

        Raises:
            NotBuiltError: there is no ledger, or that generation is not kept.
            DamagedArtifactError: the file is no catalog.
        """
        super().__init__(folder, create=create, any_thread=any_thread, page_size=page_size)
        self._generation = generation
        if generation is not None:
            try:
                self._show(generation)
            except BaseException:
                self.close()
                raise

    def _show(self, generation: int) -> None:
        """Put views in the place of the tables, for all that reads from them."""
        if generation not in self.sealed_generations():
            hint = "run `imgsearch build`"
            raise NotBuiltError(f"generation {generation} is not kept", where=self.file, hint=hint)
        for table in CONTENT:
            rows = at_generation(table, generation)
            self._db.execute(f"CREATE TEMP VIEW {table} AS {rows}")
        self._db.execute("PRAGMA query_only = ON")

    @property
    def generation(self) -> int:
        """The generation that is read; without one that was asked for, the one being written."""
        if self._generation is not None:
            return self._generation
        return int(self._db.execute(f"SELECT {NOW}").fetchone()[0])

    def sealed_generations(self) -> list[int]:
        """Return the numbers of the generations that are kept, ascending."""
        return [row[0] for row in self._db.execute("SELECT number FROM generations ORDER BY 1")]

    def seal_generation(self) -> int:
        """Keep the present state as a generation, unless the last one has it; return its number.

        It costs by what has changed since the last one.
        """
        if not self._db.in_transaction:
            with self.transaction():
                return self.seal_generation()
        for table in CONTENT:
            for statement in revert_unchanged(table):
                self._db.execute(statement)
        last = self.generation - 1
        word_index.make_index(self._db)
        changes = self._db.execute(f"{_changes(last)} LIMIT 1", {"after": last, "to": last + 1})
        if last and changes.fetchone() is None:
            return last
        self._db.execute("INSERT INTO generations VALUES (?)", (last + 1,))
        word_index.add_versions(self._db, last + 1)
        return last + 1

    def check_words(self) -> None:
        """Check that words of items can be searched for; raises as `word_index.check_words`."""
        word_index.check_words(self._db, self.file)

    def changed_items(self, after: int) -> Ids:
        """Return the ids of items that are not as generation `after` had them: (n,) int64.

        They are ascending, and cost by their number. An item that has changed and is again what it
        was may be among them. After 0, all items are.

            catalog.changed_items(build.generation)
        """
        return self._changed(after, self.generation)

    def generation_changes(self, earlier: int, later: int) -> dict[str, int]:
        """Count the available items that changed from one sealed generation to another.

        `added` are available in the later one only, `removed` in the earlier one only, `changed`
        in both, and their rows or images were written to. Generation 0 is the empty one.

            catalog.generation_changes(6, 7)  # {"added": 10, "changed": 2, "removed": 0}
        """
        items = json.dumps(self._changed(earlier, later).tolist())
        before, after = (self._available(items, generation) for generation in (earlier, later))
        return {
            "added": len(after - before),
            "changed": len(after & before),
            "removed": len(before - after),
        }

    def _changed(self, after: int, to: int) -> Ids:
        """The items of which a row began or ended in a generation > after, up to `to`."""
        rows = self._db.execute(_changes(after), {"after": after, "to": to})
        return np.unique(np.fromiter((item for (item,) in rows), np.int64))

    def _available(self, items: str, generation: int) -> set[int]:
        query = (
            f"SELECT id FROM ({at_generation('items', generation)}) WHERE state = 'available'"  # noqa: S608
            " AND id IN (SELECT value FROM json_each(:items))"
        )
        return {row["id"] for row in self.select(query, {"items": items})}

    def drop_generations(self, kept: Collection[int]) -> None:
        """Forget all sealed generations but these and the last one, within a transaction."""
        self._db.execute(
            "DELETE FROM generations WHERE number NOT IN (SELECT value FROM json_each(?))"
            " AND number < (SELECT MAX(number) FROM generations)",
            (json.dumps(sorted(kept)),),
        )
        is_needless = (
            "NOT EXISTS (SELECT 1 FROM generations WHERE number >= since AND number < until)"
        )
        word_index.delete_versions(self._db, is_needless)
        for table in CONTENT:
            self._db.execute(f"DELETE FROM {table}_history WHERE {is_needless}")  # noqa: S608
