"""Conditions on a catalog's columns: `category = 'Watches' and price < 2000` → item ids."""

from __future__ import annotations

import difflib
import json
import sqlite3
from collections.abc import Sequence
from functools import cached_property
from itertools import islice

import numpy as np
import numpy.typing as npt

from pipeline.catalog.catalog import Catalog
from pipeline.catalog.condition_sql import NESTING_HINT, Part, SqlWriter
from pipeline.catalog.ledger import Rows
from pipeline.catalog.values import Value, canonical
from pipeline.errors import QueryError

Ids = npt.NDArray[np.int64]
MAX_SUGGESTIONS = 3  # conditions that no item meets, and values near to each
MAX_PARTS = 30  # conditions on one column that are looked at for suggestions
MAX_DISTINCT = 10_000  # values of a column among which the nearest are looked for
MAX_SHOWN = 60  # characters of a value


class Condition:
    r"""A condition on the columns of the available items of a catalog.

    Columns are `id`, `key`, `name`, `category` and every column of the metadata, with a dot between
    levels where a column is itself structured, and in double quotes where a name is not a single
    word. They compare (=, <>, <, <=, >, >=, between, in, like, is null) with texts in single
    quotes, numbers, true and false, and are joined by and, or, not and brackets. Values are equal
    and ordered as `catalog/values.py` says; `like` takes `%` and `_`, and `escape '\'`. As in SQL,
    where an item lacks the column, neither the condition nor its opposite is true; the same holds
    where a number is compared and the item has a text.

        Condition(catalog, "category = 'Watches' and price < 2000").items  # ids, int64
    """

    def __init__(self, catalog: Catalog, where: str) -> None:
        """Read a condition.

        Raises:
            QueryError: the text is not such a condition, or names a column that no item has.
        """
        self._catalog, self.where = catalog, where
        self._writer = SqlWriter(catalog)
        self._sql = self._writer.write(where)
        self._compile()

    @cached_property
    def items(self) -> Ids:
        """Ids of the items that meet the condition: (n,) int64, ascending."""
        return self._ids("1")

    def among(self, items: Ids) -> Ids:
        """Return which of these items meet the condition, ascending; for few items it is faster."""
        candidates = "id IN (SELECT value FROM json_each(:items))"
        return self._ids(candidates, items=json.dumps(items.tolist()))

    @cached_property
    def notes(self) -> list[str]:
        """What to know beside an answer: which items the condition could not judge, and why."""
        notes = []
        for name, sql in self._writer.compared.items():
            is_compared = name in self._writer.compared_with_numbers
            is_text = f"{sql} IS NOT NULL AND compare_values({sql}, 0) IS NULL"
            texts = f"FILTER (WHERE {is_text if is_compared else 0})"
            counts = f"COUNT(*), COUNT({sql}), COUNT(*) {texts}, MIN({sql}) {texts}"
            ((total, present, of_text, example),) = self._rows(counts, "1")
            if of_text:
                notes.append(
                    f"{name} is a text in {of_text:,} of the {present:,} items that have it (such"
                    f" as {_shown(example)!r}): they meet no comparison with a number"
                )
            if present < total:
                notes.append(
                    f"{name} is missing in {total - present:,} of {total:,} items: they meet"
                    " neither a condition on it nor its opposite"
                )
        return notes

    @cached_property
    def suggestions(self) -> list[str]:
        """What no item has, and the values nearest to it; or that no item meets all of it."""
        parts = self._writer.parts[:MAX_PARTS]
        unmet = (part for part in parts if not any(self._rows("1", f"{part.sql} LIMIT 1")))
        suggestions = [
            f"no item has {part.text}; {part.name} has {self._nearest_values(part)}"
            for part in islice(unmet, MAX_SUGGESTIONS)
        ]
        return suggestions or ([] if len(self.items) else ["no item meets the whole condition"])

    def _nearest_values(self, part: Part) -> str:
        distinct, limit = f"DISTINCT canonical_value({part.column})", f"LIMIT {MAX_DISTINCT}"
        rows = self._rows(distinct, f"{part.column} IS NOT NULL {limit}")
        values = [value for (value,) in rows if value != ""]
        return ", ".join(map(_shown, _nearest(part.value, values))) or "no value at all"

    def _compile(self) -> None:
        """Let SQLite read the condition once, as how deep it may be only SQLite knows."""
        try:
            any(self._rows("1", f"{self._sql} LIMIT 0"))
        except (sqlite3.OperationalError, sqlite3.DataError) as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_TOOBIG)
            if code not in (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_TOOBIG):
                raise  # of the disk
            message = f"the condition is nested too deeply, or too long ({error})"
            raise QueryError(message, hint=NESTING_HINT) from error

    def _ids(self, candidates: str, **parameters: str) -> Ids:
        rows = self._rows("id", f"{candidates} AND ({self._sql}) ORDER BY id", **parameters)
        return np.fromiter((row["id"] for row in rows), np.int64)

    def _rows(self, columns: str, condition: str, **parameters: str) -> Rows:
        """Stream columns of the available items that meet a condition in SQL."""
        query = f"SELECT {columns} FROM items WHERE state = 'available' AND {condition}"  # noqa: S608
        return self._catalog.select(query, {**self._writer.parameters, **parameters})


def _nearest(value: Value, values: Sequence[Value]) -> list[Value]:
    """The values most like one: the numbers next to a number, the texts most like a text."""
    wanted = canonical(value)
    numbers = [number for number in values if not isinstance(number, str)]
    if not isinstance(wanted, str) and numbers:
        return sorted(sorted(numbers, key=lambda number: abs(number - wanted))[:MAX_SUGGESTIONS])
    by_folded = {str(text).casefold(): text for text in reversed(values)}
    folded = str(wanted)[:MAX_SHOWN].casefold()
    close = difflib.get_close_matches(folded, by_folded, MAX_SUGGESTIONS, cutoff=0.4)
    return [by_folded[text] for text in close] or sorted(values, key=str)[:MAX_SUGGESTIONS]


def _shown(value: Value) -> str:
    text = str(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"
