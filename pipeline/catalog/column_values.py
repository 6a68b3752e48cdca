"""The values of one column in memory, as codes: conditions are judged once for each value.

What `values.py` calls equal has one code. Numbers come before texts, each ascending, so that a
comparison holds for a range of codes. Truth has three values, as in SQL: FALSE < UNKNOWN < TRUE, so
that `and` is the minimum, `or` the maximum, and `not` is TRUE - truth.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Self, TypeVar

import numpy as np
import numpy.typing as npt

from pipeline.catalog.joined_texts import JoinedTexts
from pipeline.catalog.like import Parts, like_pattern, pattern_parts
from pipeline.catalog.values import Value, canonical

AnyValue = TypeVar("AnyValue", int | float, str)
Operator = Literal["=", "<>", "<", "<=", ">", ">="]
Codes = npt.NDArray[np.int32]
Ids = npt.NDArray[np.int64]
Truth = npt.NDArray[np.int8]
FALSE, UNKNOWN, TRUE = np.int8(0), np.int8(1), np.int8(2)
NO_VALUE = -1
MIN_JOINED = 10_000  # values: fewer are sooner matched one by one

_ORDERS: dict[Operator, tuple[np.int8, np.int8, np.int8]] = {
    "=": (FALSE, TRUE, FALSE),
    "<>": (TRUE, FALSE, TRUE),
    "<": (TRUE, FALSE, FALSE),
    "<=": (TRUE, TRUE, FALSE),
    ">": (FALSE, FALSE, TRUE),
    ">=": (FALSE, TRUE, TRUE),
}
"""Operator → whether it holds for values that are less, equal and greater."""


@dataclass(frozen=True)
class ColumnValues:
    """One column of n items; its methods judge every distinct value.

    What they return is (d + 1,) int8: the truth for each of the d values, and last for no value,
    so that `truth[codes]` is that of each item.
    """

    codes: Codes
    """(n,): the place of each item's value among the numbers, then the texts; -1 without one."""
    numbers: list[int | float]
    texts: list[str]

    @classmethod
    def of(cls, cells: Iterable[Value | None]) -> Self:
        """Take the value of each item: `ColumnValues.of([40, "40.0", None]).codes`: [0, 0, -1]."""
        seen: dict[Value, int] = {}
        places = array(
            "i", (NO_VALUE if cell is None else seen.setdefault(cell, len(seen)) for cell in cells)
        )
        values = [canonical(cell) for cell in seen]
        numbers, texts = _sorted(values)
        code_of: dict[Value, int] = {value: n for n, value in enumerate([*numbers, *texts])}
        codes = np.array([*(code_of[value] for value in values), NO_VALUE], np.int32)
        return cls(codes[np.frombuffer(places, np.int32)], numbers, texts)

    @property
    def values(self) -> list[Value]:
        """The value of each code; after a change no item may have it."""
        return [*self.numbers, *self.texts]

    def value(self, code: int) -> Value:
        """Return the value of a code."""
        texts_from = len(self.numbers)
        return self.numbers[code] if code < texts_from else self.texts[code - texts_from]

    def compare(self, operator: Operator, value: Value) -> Truth:
        """Compare with a number or a text: `column.compare("<", 2000)`.

        Nothing is known of no value, nor of a text where a number is asked for. A number and a text
        are unequal, and have no order.
        """
        wanted, (numbers, texts) = canonical(value), self._parts()
        is_text = isinstance(wanted, str)
        same, other = (texts, numbers) if is_text else (numbers, texts)
        truth = np.full(numbers.stop + len(self.texts) + 1, UNKNOWN, np.int8)
        if isinstance(value, str) and operator in ("=", "<>"):
            truth[other] = TRUE if operator == "<>" else FALSE
        first, last = self._range(wanted)
        less, equal, greater = _ORDERS[operator]
        truth[same] = greater
        truth[same.start : last] = equal
        truth[same.start : first] = less
        return truth

    def is_member(self, values: Sequence[Value]) -> Truth:
        """Whether values are equal to one of these; as `compare`, nothing may be known of texts."""
        texts = self._parts()[1]
        has_numbers = any(not isinstance(value, str) for value in values)
        truth = np.full(texts.stop + 1, FALSE, np.int8)
        truth[texts] = UNKNOWN if has_numbers else FALSE
        truth[-1] = UNKNOWN
        for value in values:
            first, last = self._range(canonical(value))
            truth[first:last] = TRUE
        return truth

    def is_null(self) -> Truth:
        """Whether there is no value."""
        truth = np.full(len(self.numbers) + len(self.texts) + 1, FALSE, np.int8)
        truth[-1] = TRUE
        return truth

    def like(self, pattern: str, escape: str | None = None) -> Truth:
        """Match the texts of all values: `column.like("tit%")`, see `like.py`."""
        parts = pattern_parts(pattern, escape)
        truth = np.append(np.full(len(self.numbers) + len(self.texts), FALSE), UNKNOWN)
        if parts is not None:
            truth[:-1][self._is_like(parts)] = TRUE
        return truth

    def _is_like(self, parts: Parts) -> npt.NDArray[np.bool_]:
        """(d,): whether the text of each value is like a pattern."""
        if len(self.numbers) + len(self.texts) >= MIN_JOINED and self._joined.can_match(parts):
            return self._joined.like(parts)
        match = like_pattern(parts).match
        return np.array([match(text) is not None for text in self._all_texts], np.bool_)

    @property
    def _all_texts(self) -> list[str]:
        return [*map(str, self.numbers), *self.texts]

    @cached_property
    def _joined(self) -> JoinedTexts:
        return JoinedTexts(self._all_texts)

    def changed(self, places: Ids, cells: Sequence[Value | None], items: int) -> Self:
        """Return the column with other values at some places, and of so many items.

        `places` are (m,), distinct; those from len(codes) on are of new items.
        """
        other = self.of(cells)
        numbers, texts = _new(self.numbers, other.numbers), _new(self.texts, other.texts)
        texts_from = len(self.numbers) + len(numbers)
        merged = type(self)(
            np.full(items, NO_VALUE, np.int32),
            sorted(self.numbers + numbers) if numbers else self.numbers,
            sorted(self.texts + texts) if texts else self.texts,
        )
        parts = (_shifted(self.numbers, numbers), _shifted(self.texts, texts) + texts_from)
        merged.codes[: len(self.codes)] = np.append(np.concatenate(parts), NO_VALUE)[self.codes]
        codes = np.array([*(merged._range(value)[0] for value in other.values), NO_VALUE])
        merged.codes[places] = codes[other.codes]
        return merged

    def _parts(self) -> tuple[slice, slice]:
        """The codes of numbers, and of texts."""
        texts_from = len(self.numbers)
        return slice(0, texts_from), slice(texts_from, texts_from + len(self.texts))

    def _range(self, value: Value) -> tuple[int, int]:
        """The first code whose value is not less than this one's, and the first that is greater."""
        if isinstance(value, str):
            start = len(self.numbers)
            return start + bisect_left(self.texts, value), start + bisect_right(self.texts, value)
        return bisect_left(self.numbers, value), bisect_right(self.numbers, value)


def _sorted(values: Iterable[Value]) -> tuple[list[int | float], list[str]]:
    """The distinct numbers, and the distinct texts."""
    distinct = set(values)
    numbers = sorted(value for value in distinct if not isinstance(value, str))
    return numbers, sorted(value for value in distinct if isinstance(value, str))


def _new(known: list[AnyValue], values: list[AnyValue]) -> list[AnyValue]:
    """The values that are not known; both lists are ascending."""
    places = (bisect_left(known, value) for value in values)
    return [v for v, n in zip(values, places, strict=True) if known[n : n + 1] != [v]]


def _shifted(known: list[AnyValue], new: list[AnyValue]) -> Codes:
    """(d,): the place of each known value once the new ones are among them; both are ascending."""
    places = np.arange(len(known), dtype=np.int32)
    before = np.searchsorted([bisect_left(known, value) for value in new], places, side="right")
    return (places + before).astype(np.int32)
