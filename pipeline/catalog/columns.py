"""The columns of a catalog's items: its own, and those of the metadata."""

from __future__ import annotations

import difflib
from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt

from pipeline.catalog.catalog import Catalog
from pipeline.catalog.column_store import ITEM_COLUMNS, ColumnStore
from pipeline.catalog.column_values import NO_VALUE
from pipeline.errors import QueryError

Ids = npt.NDArray[np.int64]
_MAX_SHOWN = 30  # columns in an error


class Groups:
    """Groups of items that share the value of a column.

    Groups(catalog, "category")([1, 2])  # [("value", "Watches"), ("item", 2)]
    """

    def __init__(self, catalog: Catalog, name: str) -> None:
        """Take a column by its name; a dot may stand between levels of a structured one.

        Raises:
            QueryError: no item has it.
        """
        store = catalog.columns
        names: tuple[str, ...] = (name,)
        if "." in name and not store.has(names):
            names = tuple(name.split("."))
        check_column(store, names)
        self._store, self._column = store, store.column(names)

    def numbers(self, items: Ids) -> Ids:
        """Return the number of the group of each of (n,) items: of a value ≥ 0, else -item."""
        codes = np.append(self._column.codes, NO_VALUE)[self._store.places(items)]
        numbers: Ids = np.where(codes == NO_VALUE, -items, codes)
        return numbers

    def __call__(self, items: Sequence[int]) -> list[Hashable]:
        """Return the group of each item: of equal values (`values.py`), else of the item alone."""
        numbers, values = self.numbers(np.asarray(items, np.int64)).tolist(), self._column.values
        return [("value", values[n]) if n >= 0 else ("item", -n) for n in numbers]


def check_column(store: ColumnStore, names: tuple[str, ...]) -> None:
    """Raise a QueryError, which lists the columns that there are, if no item has this column."""
    if not store.has(names):
        columns = list(dict.fromkeys([*ITEM_COLUMNS, *sorted(store.names)]))
        close = difflib.get_close_matches(names[0], columns, n=1) if len(names) == 1 else []
        nearest = f" (did you mean {close[0]}?)" if close else ""
        more = ", ..." if len(columns) > _MAX_SHOWN else ""
        existing = f"there are {', '.join(columns[:_MAX_SHOWN])}{more}"
        raise QueryError(f"no item has a column {'.'.join(names)!r}{nearest}", hint=existing)
