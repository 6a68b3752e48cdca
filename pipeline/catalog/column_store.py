"""The columns of one state of the ledger, read from its rows once, and kept on the disk.

A column is read when a condition or a group first asks for it. Beside a publication it is then kept
in a file, with which later publications begin: what changed since is read from the ledger. A file
is only a copy of what the ledger holds: one that is not what was written is made anew.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from array import array
from collections.abc import Callable, Hashable, Iterator
from pathlib import Path
from threading import RLock

import numpy as np
import numpy.typing as npt

from pipeline.artifacts import digest
from pipeline.catalog.column_files import KeptColumn, Query, read_column, write_column
from pipeline.catalog.column_values import NO_VALUE, TRUE, ColumnValues, Ids
from pipeline.catalog.generations import Generations
from pipeline.catalog.ledger import Rows
from pipeline.catalog.values import Value

Names = tuple[str, ...]
"""The name of a column; of several levels where it is itself structured."""
ITEM_COLUMNS = {  # name → SQL; all other columns are metadata
    "id": "id",
    "key": "key",
    "name": "name",
    "category": "NULLIF(category, '')",  # an item without one has none in common with others
}
MIN_ITEMS = 10_000  # of fewer, columns are sooner read than kept
MAX_CHANGED = 0.02  # where more than this share of the items has changed, all are read
MAX_REMEMBERED = 8  # conditions whose items are
PAGE_SIZE = 10_000  # rows that are read at a time

_STATE: Query = ("state", {})
_NAMES: Query = ("(SELECT json_group_array(key) FROM json_each(metadata) WHERE type <> 'null')", {})


class ColumnStore:
    """The columns of a ledger's items, in the order of their ids; it may serve several threads.

    catalog.columns.column(("price",)).compare("<", 2000)
    """

    def __init__(
        self, ledger: Generations, folder: Path | None = None, min_items: int = MIN_ITEMS
    ) -> None:
        """Read from a ledger; keep what was read in `folder`, if that is given, of many items."""
        self._ledger, self._folder, self._min_items = ledger, folder, min_items
        self._columns: dict[Names, ColumnValues] = {}
        self._counts: dict[Names, Ids] = {}
        self._found: dict[Hashable, Ids] = {}
        self._changed: dict[int, Ids] = {}
        self._read_states: KeptColumn | None = None
        self._names: frozenset[str] | None = None
        # The only lock: two cached properties in turn could wait for each other.
        self._lock = RLock()

    @property
    def ids(self) -> Ids:
        """(n,): the ids of all items, ascending, whatever their states."""
        return self._states.ids

    @property
    def is_available(self) -> npt.NDArray[np.bool_]:
        """(n,): whether each item is available."""
        states = self._states.values
        available: npt.NDArray[np.bool_] = (states.compare("=", "available") == TRUE)[states.codes]
        return available

    @property
    def names(self) -> frozenset[str]:
        """The names of the columns of the metadata in which any item has a value."""
        with self._lock:
            if self._names is None:
                values = self._read(_NAMES).values
                lists = (str(values.value(code)) for code in np.unique(values.codes).tolist())
                self._names = frozenset(name for names in lists for name in json.loads(names))
            return self._names

    def has(self, names: Names) -> bool:
        """Whether any item has a value in a column."""
        if len(names) == 1:
            return names[0] in ITEM_COLUMNS or names[0] in self.names
        return names[0] in self.names and bool((self.column(names).codes >= 0).any())

    def column(self, names: Names) -> ColumnValues:
        """Return a column, which is read now unless it was before."""
        with self._lock:
            if names not in self._columns:
                self._columns[names] = self._aligned(_query(names))
            return self._columns[names]

    def counts(self, names: Names) -> Ids:
        """(d,): how many available items have each value of a column."""
        with self._lock:
            if names not in self._counts:
                column = self.column(names)
                codes = column.codes[self.is_available] - NO_VALUE
                self._counts[names] = np.bincount(codes, minlength=len(column.values) + 1)[1:]
            return self._counts[names]

    def remember(self, condition: Hashable, find: Callable[[], Ids]) -> Ids:
        """Return the items that meet a condition, as they were found last, else by `find`."""
        with self._lock:
            found = self._found.pop(condition, None)
        items = find() if found is None else found
        with self._lock:
            self._found[condition] = items  # now the last of them
            while len(self._found) > MAX_REMEMBERED:
                del self._found[next(iter(self._found))]
        return items

    def prepare(self) -> None:
        """Keep what every condition needs, and what was kept of columns, if the items are many.

        So queries need not read a column anew because much has changed since it was kept.
        """
        if len(self.ids) >= self._min_items:
            _ = self.names
            for file in sorted(self._folder.glob("*.column")) if self._folder else ():
                if kept := read_column(file):
                    self._current(kept.query, kept)

    def places(self, items: Ids) -> Ids:
        """(m,) ids of items → (m,): their places in a column; of other numbers, n."""
        ids = self.ids
        if len(ids) and ids[-1] - ids[0] == len(ids) - 1:  # without gaps, which is far faster
            return np.where((items >= ids[0]) & (items <= ids[-1]), items - ids[0], len(ids))
        places: Ids = np.searchsorted(ids, items)
        places[np.append(ids, 0)[places] != items] = len(ids)
        return places

    @property
    def _states(self) -> KeptColumn:
        with self._lock:
            if self._read_states is None:
                self._read_states = self._read(_STATE)
            return self._read_states

    def _aligned(self, query: Query) -> ColumnValues:
        """Read a column, whose items are those of the store."""
        kept = self._read(query)
        return (kept if np.array_equal(kept.ids, self.ids) else self._read_all(query)).values

    def _read(self, query: Query) -> KeptColumn:
        """Read a column from its file and what changed since, or else from all rows."""
        file = self._file(query)
        return self._current(query, read_column(file) if file else None)

    def _file(self, query: Query) -> Path | None:
        return None if self._folder is None else self._folder / f"{digest(query)}.column"

    def _current(self, query: Query, kept: KeptColumn | None) -> KeptColumn:
        """Bring what was kept of a column up to date, or else read it, and keep it."""
        if kept and (updated := self._updated(query, kept)):
            return updated
        read, file = self._read_all(query), self._file(query)
        if file and len(read.ids) >= self._min_items:
            with contextlib.suppress(OSError):  # where nothing may be written, it is read each time
                write_column(file, read)
        return read

    def _read_all(self, query: Query) -> KeptColumn:
        sql, parameters = query
        rows = self._ledger.select_pages(
            f"SELECT id, {sql} AS cell FROM items WHERE id > :after",  # noqa: S608
            parameters,
            PAGE_SIZE,
        )
        ids = array("q")
        values = ColumnValues.of(_cells(rows, ids))
        return KeptColumn(query, self._ledger.generation, np.array(ids, np.int64), values)

    def _updated(self, query: Query, kept: KeptColumn) -> KeptColumn | None:
        """Bring a column up to this generation; None if it has to be read anew."""
        generation = self._ledger.generation
        if kept.generation > generation:
            return None
        changed = self._changed_since(kept.generation)
        if len(changed) > MAX_CHANGED * len(kept.ids):
            return None
        sql, parameters = query
        rows = self._ledger.select(
            f"SELECT id, {sql} AS cell FROM items"  # noqa: S608
            " WHERE id IN (SELECT value FROM json_each(:items)) ORDER BY id",
            {**parameters, "items": json.dumps(changed.tolist())},
        )
        items = array("q")
        cells = list(_cells(rows, items))
        found = np.array(items, np.int64)
        new = found[found > kept.ids[-1]]
        ids = np.concatenate([kept.ids, new])
        places = np.searchsorted(ids, found)
        if len(found) < len(changed) or not np.array_equal(ids[places], found):
            return None
        return KeptColumn(query, generation, ids, kept.values.changed(places, cells, len(ids)))

    def _changed_since(self, generation: int) -> Ids:
        if generation not in self._changed:
            self._changed[generation] = self._ledger.changed_items(generation)
        return self._changed[generation]


def carry_columns(earlier: Path, folder: Path) -> None:
    """Let the columns that are kept beside a publication be those that the next begins with."""
    for file in earlier.glob("*.column"):
        folder.mkdir(exist_ok=True)
        carried = folder / file.name
        if carried.exists():
            continue
        try:
            os.link(file, carried)
        except OSError:  # a file system without links
            shutil.copyfile(file, carried)


def _cells(rows: Rows, ids: array[int]) -> Iterator[Value | None]:
    """The values of rows (id, value), whose ids are appended."""
    for item, cell in rows:
        ids.append(item)
        yield cell


def _query(names: Names) -> Query:
    if len(names) == 1 and names[0] in ITEM_COLUMNS:
        return ITEM_COLUMNS[names[0]], {}
    value = "metadata"
    for level in range(len(names)):
        # Not json_extract: its paths cannot name a column with a quote in it.
        value = f"(SELECT value FROM json_each({value}) WHERE key = :level_{level})"  # noqa: S608
    return value, {f"level_{level}": name for level, name in enumerate(names)}
