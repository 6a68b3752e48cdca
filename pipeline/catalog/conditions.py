"""Conditions on a catalog's columns: `category = 'Watches' and price < 2000` → item ids."""

from __future__ import annotations

import difflib
from bisect import bisect_left
from collections.abc import Callable, Iterator
from functools import cached_property
from itertools import islice

import numpy as np
import numpy.typing as npt

from pipeline.catalog.catalog import Catalog
from pipeline.catalog.column_values import TRUE, ColumnValues, Truth
from pipeline.catalog.columns import check_column
from pipeline.catalog.condition_parser import parse
from pipeline.catalog.condition_tree import (
    Between,
    Comparison,
    IsNull,
    Joined,
    Leaf,
    Like,
    Member,
    Not,
    Tree,
    leaves,
)
from pipeline.catalog.values import Value, canonical

Ids = npt.NDArray[np.int64]
MAX_SUGGESTIONS = 3  # conditions that no item meets, and values near to each
MAX_PARTS = 30  # conditions on one column that are looked at for suggestions
MAX_DISTINCT = 1_000  # texts around one in the order of a column, of which the nearest are found
MAX_SHOWN = 60  # characters of a value

Part = Comparison | Between | Like


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
        self._store = catalog.columns
        self.tree = parse(where)
        """What it says, for others who evaluate it."""
        self._leaves = list(leaves(self.tree))
        for names in dict.fromkeys(leaf.column for leaf, _ in self._leaves):
            check_column(self._store, names)

    @cached_property
    def items(self) -> Ids:
        """Ids of the items that meet the condition: (n,) int64, ascending."""
        return self._store.remember(self.tree, self._find)

    def holds(self, items: Ids) -> npt.NDArray[np.bool_]:
        """Return which of (m,) items meet the condition: (m,)."""
        return np.isin(items, self.items)

    @cached_property
    def notes(self) -> list[str]:
        """What to know beside an answer: which items the condition could not judge, and why."""
        notes = []
        total = int(self._store.is_available.sum())
        for names, has_numbers in self._compared().items():
            name, column, counts = ".".join(names), self._column(names), self._store.counts(names)
            present, of_text = int(counts.sum()), counts[len(column.numbers) :]
            if has_numbers and of_text.any():
                example = column.texts[np.flatnonzero(of_text)[0]]
                notes.append(
                    f"{name} is a text in {of_text.sum():,} of the {present:,} items that have it"
                    f" (such as {_shown(example)!r}): they meet no comparison with a number"
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
        unmet = (part for part in islice(self._parts(), MAX_PARTS) if not self._is_met(part))
        suggestions = [
            f"no item has {part.text}; {'.'.join(part.column)} has {self._nearest_values(part)}"
            for part in islice(unmet, MAX_SUGGESTIONS)
        ]
        return suggestions or ([] if len(self.items) else ["no item meets the whole condition"])

    def _find(self) -> Ids:
        holds: npt.NDArray[np.bool_] = self._truth(self.tree) == TRUE
        found: Ids = self._store.ids[holds & self._store.is_available]
        return found

    def _truth(self, tree: Tree) -> Truth:
        """(n,): the truth for each item of the catalog."""
        columns = {leaf.column for leaf, _ in leaves(tree)}
        if isinstance(tree, Not | Joined) and len(columns) > 1:
            return _combined(tree, self._truth)
        # Of one column, it is judged once for each value.
        truth: Truth = self._truth_of_values(tree)[self._column(columns.pop()).codes]
        return truth

    def _truth_of_values(self, tree: Tree) -> Truth:
        """(d + 1,): the truth for each value of the one column that is asked for."""
        if isinstance(tree, Not | Joined):
            return _combined(tree, self._truth_of_values)
        return _judge(self._column(tree.column), tree)

    def _column(self, names: tuple[str, ...]) -> ColumnValues:
        return self._store.column(names)

    def _compared(self) -> dict[tuple[str, ...], bool]:
        """Columns that are compared with values, and whether any of these is a number."""
        compared: dict[tuple[str, ...], bool] = {}
        for leaf, _ in self._leaves:
            if values := _values(leaf):
                is_number = any(not isinstance(value, str) for value in values)
                compared[leaf.column] = compared.get(leaf.column, False) or is_number
        return compared

    def _parts(self) -> Iterator[Part]:
        """Conditions on one column that must be met as they are."""
        for leaf, is_negated in self._leaves:
            match leaf:
                case Comparison() | Between() if not is_negated:
                    yield leaf
                case Like(is_negated=False) if not is_negated:
                    yield leaf
                case Member() if not is_negated:
                    yield from leaf.parts

    def _is_met(self, part: Part) -> bool:
        truth = _judge(self._column(part.column), part)[:-1]
        return bool(self._store.counts(part.column)[truth == TRUE].any())

    def _nearest_values(self, part: Part) -> str:
        wanted = part.pattern.strip("%_") if isinstance(part, Like) else _values(part)[0]
        codes = np.flatnonzero(self._store.counts(part.column))
        values = _nearest(wanted, self._column(part.column), codes)
        return ", ".join(map(_shown, values)) or "no value at all"


def _combined(tree: Not | Joined, judge: Callable[[Tree], Truth]) -> Truth:
    """The truth of conditions that are joined or negated, given that of each."""
    if isinstance(tree, Not):
        opposite: Truth = TRUE - judge(tree.condition)
        return opposite
    join = np.minimum if tree.word == "and" else np.maximum
    truth = judge(tree.conditions[0])
    for condition in tree.conditions[1:]:
        join(truth, judge(condition), out=truth)
    return truth


def _judge(column: ColumnValues, leaf: Leaf) -> Truth:
    """(d + 1,): the truth of a condition on one column, for each of its values."""
    match leaf:
        case Comparison():
            return column.compare(leaf.operator, leaf.value)
        case Between():
            return np.minimum(column.compare(">=", leaf.low), column.compare("<=", leaf.high))
        case Member():
            return column.is_member(leaf.values)
        case Like():
            truth = column.like(leaf.pattern, leaf.escape)
            return (TRUE - truth).astype(np.int8) if leaf.is_negated else truth
        case IsNull():
            return column.is_null()


def _values(leaf: Leaf) -> tuple[Value, ...]:
    """What a column is compared with."""
    match leaf:
        case Comparison():
            return (leaf.value,)
        case Between():
            return (leaf.low, leaf.high)
        case Member():
            return leaf.values
        case Like():
            return (leaf.pattern,)
        case IsNull():
            return ()


def _nearest(value: Value, column: ColumnValues, codes: Ids) -> list[Value]:
    """The values most like one: the numbers next to a number, the texts most like a text.

    `codes` are those of the values that there are, ascending.
    """
    wanted, texts_from = canonical(value), len(column.numbers)
    numbers = codes[codes < texts_from]
    if not isinstance(wanted, str) and len(numbers):
        code = bisect_left(column.numbers, wanted)
        around = [column.numbers[i] for i in _around(numbers, code, 2 * MAX_SUGGESTIONS)]
        return sorted(sorted(around, key=lambda number: abs(number - wanted))[:MAX_SUGGESTIONS])
    text = str(wanted)
    places = (bisect_left(column.texts, one) for one in (text, text.capitalize(), text.upper()))
    near = [i for place in places for i in _around(codes, texts_from + place, MAX_DISTINCT)]
    values = [one for i in dict.fromkeys(near) if (one := column.value(i)) != ""]
    by_folded = {str(text).casefold(): text for text in reversed(values)}
    folded = str(wanted)[:MAX_SHOWN].casefold()
    close = difflib.get_close_matches(folded, by_folded, MAX_SUGGESTIONS, cutoff=0.4)
    return [by_folded[text] for text in close] or sorted(values, key=str)[:MAX_SUGGESTIONS]


def _around(codes: Ids, code: int, limit: int) -> list[int]:
    """At most so many codes, those next to one."""
    first = max(0, min(int(np.searchsorted(codes, code)) - limit // 2, len(codes) - limit))
    near: list[int] = codes[first : first + limit].tolist()
    return near


def _shown(value: Value) -> str:
    text = str(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"
