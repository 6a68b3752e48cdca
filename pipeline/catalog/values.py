"""What the value of a column is: one meaning of equality and order for filters, labels and groups.

A value is a number or a text. A text that is written as a number, such as ` 40`, `.5` or `1e3`, is
that number; `042`, `₹999` and `1,299` are texts. Blanks around a text do not count. Whole numbers
are compared as such, never through floats.
"""

from __future__ import annotations

import math
import re

Value = int | float | str

_NUMERAL = re.compile(r"[-+]?(?:0|[1-9][0-9]*)?(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?")
_MAX_DIGITS = 18  # of a whole number: SQLite's integers have no more in every case


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
