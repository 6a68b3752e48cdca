"""Amounts as people write them: "10m", "300k", "1.5 million", "100ms", "0.2s"."""

from __future__ import annotations

import math
import re

from pipeline.errors import QueryError

MAX_ITEMS = 10**12
_AMOUNT = re.compile(r"([0-9][0-9_,]*(?:\.[0-9]+)?|\.[0-9]+)(?:e([0-9]{1,2}))?\s*([a-zµ]*)", re.I)
_COUNTS = {
    "": 1,
    **dict.fromkeys(("k", "thousand"), 10**3),
    **dict.fromkeys(("m", "mio", "million"), 10**6),
    **dict.fromkeys(("b", "g", "bn", "billion"), 10**9),
}
_SECONDS = {
    **dict.fromkeys(("", "ms"), 1e-3),
    **dict.fromkeys(("s", "sec", "seconds"), 1.0),
    **dict.fromkeys(("us", "µs"), 1e-6),
}


def parse_count(text: str, where: str) -> int:
    """Return a number of things, 1 or more: `parse_count("10m", "--items")` is 10,000,000.

    Raises:
        QueryError: it is none.
    """
    number = _parse(text, _COUNTS)
    if number is None or not 1 <= number <= MAX_ITEMS:
        raise QueryError(f"{text!r} is no number of items", where=where, hint="write 300k, or 10m")
    return round(number)


def parse_rate(text: str, where: str) -> float:
    """Return a number of queries a second, above 0: `parse_rate("1.5k", "--qps")` is 1500.

    Raises:
        QueryError: it is none.
    """
    number = _parse(text, _COUNTS)
    if number is None or not 0 < number <= MAX_ITEMS:
        what = f"{text!r} is no number of queries a second"
        raise QueryError(what, where=where, hint="write 50, 0.5 or 2k")
    return number


def parse_seconds(text: str, where: str) -> float:
    """Return seconds; a number alone is milliseconds: `parse_seconds("100ms", "--p95")` is 0.1.

    Raises:
        QueryError: it is no time, or none that can be kept.
    """
    number = _parse(text, _SECONDS)
    if number is None or not 0 < number <= MAX_ITEMS:
        raise QueryError(f"{text!r} is no time", where=where, hint="write 100ms, or 0.5s")
    return number


def _parse(text: str, units: dict[str, int] | dict[str, float]) -> float | None:
    """A number and its unit, with or without a space; None if it is something else."""
    match = _AMOUNT.fullmatch(text.strip())
    unit = units.get(match[3].lower()) if match else None
    if match is None or unit is None:
        return None
    number = float(re.sub("[_,]", "", match[1])) * 10.0 ** int(match[2] or 0) * unit
    return number if math.isfinite(number) else None
