"""What the value of a column is: one meaning of equality and order for filters, labels and groups.

A value is a number or a text. A text that is written as a number, such as ` 40`, `.5` or `1e3`, is
that number; `042`, `₹999` and `1,299` are texts. Blanks around a text do not count. Whole numbers
are compared as such, never through floats.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

Value = int | float | str

_NUMERAL = re.compile(r"[-+]?(?:0|[1-9][0-9]*)?(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?")
_MAX_DIGITS = 18  # of a whole number: SQLite's integers have no more in every case
OTHER_KIND = 2
"""What `compare` returns for a number and a text: they are not equal, and have no order."""


def as_number(text: str) -> int | float | None:
    """Return the number that a text is written as, or None: `as_number(" 1e3")` is 1000.0."""
    text = text.strip()
    if not any(map(str.isdecimal, text)) or not _NUMERAL.fullmatch(text):
        return None
    if text.lstrip("+-").isdecimal():
        return int(text) if len(text.lstrip("+-")) <= _MAX_DIGITS else None
    number = float(text)
    return number if math.isfinite(number) else None


def canonical(value: Value) -> Value:
    """Return what stands for all equal values: 40 for 40, 40.0, "40" and " 40 "."""
    if not isinstance(value, str):
        return int(value) if isinstance(value, float) and value.is_integer() else value
    number = as_number(value)
    return value.strip() if number is None else canonical(number)


def compare(cell: Value | None, value: Value) -> int | None:
    """Compare a column's value with that of a condition: -1, 0 or 1.

    None if that cannot be judged: there is no value, or a number is asked for and this is a text.
    `OTHER_KIND` if a text is asked for and this is a number.
    """
    if cell is None:
        return None
    left: Any = canonical(cell)
    right: Any = canonical(value)
    if isinstance(left, str) == isinstance(right, str):
        return int(left > right) - int(left < right)
    return None if isinstance(left, str) and not isinstance(value, str) else OTHER_KIND


def is_member(cell: Value | None, values: str) -> bool | None:
    """Whether a column's value is in a JSON list; None if that cannot be judged, as `compare`."""
    if cell is None:
        return None
    members, has_numbers = _members(values)
    if canonical(cell) in members:
        return True
    return None if has_numbers and isinstance(canonical(cell), str) else False


@lru_cache(maxsize=64)
def _members(values: str) -> tuple[frozenset[Value], bool]:
    """The canonical values of a JSON list, and whether any of them was written as a number."""
    listed = json.loads(values)
    return frozenset(map(canonical, listed)), any(not isinstance(v, str) for v in listed)


SQL_FUNCTIONS: dict[str, tuple[int, Callable[..., Any]]] = {
    "compare_values": (2, compare),
    "is_member": (2, is_member),
    "value_label": (1, lambda cell: None if cell is None else str(canonical(cell))),
    "canonical_value": (1, lambda cell: None if cell is None else canonical(cell)),
}
"""Name in SQL → number of arguments and function; all of them are pure."""
