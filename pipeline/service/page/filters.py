"""The form of filters: a catalog's columns → its fields, and what is chosen in them → a condition.

Its fields are `in.COLUMN` (values that are wanted), `min.COLUMN`, `max.COLUMN`, and `where`, a
condition as text. They are joined by `and`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipeline.catalog.values import as_number
from pipeline.errors import QueryError

Json = Mapping[str, Any]
Params = Sequence[tuple[str, str]]

MAX_CHOICES = 20  # values of a column that has check boxes
MAX_NUMBERS = 6  # numbers that a column has at most, to have check boxes instead of a range
MAX_FIELDS = 12  # of each kind
_IN, _MIN, _MAX = "in.", "min.", "max."
CHOSEN = (_IN, _MIN, _MAX)
"""What the names of fields begin with."""


def condition(params: Params) -> str | None:
    r"""Return the condition that is chosen, for `search(where=…)`; None if there is none.

        condition([("in.category", "Bags"), ("max.price", "900")])
        # '"category" in (\'Bags\') and "price" <= 900'

    Raises:
        QueryError: a bound is no number.
    """
    values: dict[str, list[str]] = {}
    for name, value in params:
        if name.startswith(_IN):
            values.setdefault(name.removeprefix(_IN), []).append(_quoted(value, "'"))
    parts = [f"{_quoted(name, _DOUBLE)} in ({', '.join(texts)})" for name, texts in values.items()]
    for name, value in params:
        for prefix, sign in ((_MIN, ">="), (_MAX, "<=")):
            if name.startswith(prefix) and value.strip():
                column = name.removeprefix(prefix)
                parts.append(f"{_quoted(column, _DOUBLE)} {sign} {_number(column, value)}")
    where = text_of(params)
    return " and ".join([*parts, *([f"({where})"] if where else [])]) or None


def text_of(params: Params) -> str:
    """Return the condition that is given as text, or ""."""
    return dict(params).get("where", "").strip()


def chosen(params: Params) -> int:
    """Count the filters that are set."""
    names = {name for name, value in params if name.startswith(CHOSEN) and value.strip()}
    return len(names) + bool(text_of(params)) + bool(dict(params).get("group_by"))


_DOUBLE = '"'


def _quoted(text: str, mark: str) -> str:
    return f"{mark}{text.replace(mark, 2 * mark)}{mark}"


def _number(column: str, text: str) -> int | float:
    number = as_number(text)
    if number is None:
        raise QueryError(f"{column}: {text!r} is not a number")
    return number


def fields(columns: Iterable[Json], params: Params) -> dict[str, Any]:
    """Return the fields that a catalog's columns (of `/api/catalog`) make, filled in.

    `choices`: columns with few values, each a check box with its count. `ranges`: columns of
    numbers. `groups`: columns by which items can be grouped.
    """
    distinct = _without_copies(columns)
    return {
        "choices": [_choices(c, params) for c in distinct if _is_choice(c)][:MAX_FIELDS],
        "ranges": [_range(c, params) for c in distinct if _is_range(c)][:MAX_FIELDS],
        "groups": [c["name"] for c in distinct if _is_group(c)][:MAX_FIELDS],
    }


def _without_copies(columns: Iterable[Json]) -> list[Json]:
    """Leave out columns that hold what an earlier one holds."""
    by_content: dict[tuple[int, int, str], Json] = {}
    for column in columns:
        content = (column["items"], column["distinct"], str(column["values"]))
        by_content.setdefault(content, column)
    return list(by_content.values())


def _is_choice(column: Json) -> bool:
    most = MAX_NUMBERS if column["kind"] == "number" else MAX_CHOICES
    return bool(column["kind"] != "structured" and 1 < column["distinct"] <= most)


def _is_range(column: Json) -> bool:
    return bool(column["kind"] == "number" and column["distinct"] > MAX_NUMBERS)


def _is_group(column: Json) -> bool:
    return column["kind"] in {"text", "mixed"} and 1 < column["distinct"] <= column["items"] / 2


def _choices(column: Json, params: Params) -> dict[str, Any]:
    name = column["name"]
    checked = {value for key, value in params if key == f"{_IN}{name}"}
    return {
        "column": name,
        "choices": [
            {"value": str(value), "count": count, "checked": str(value) in checked}
            for value, count in _values(column)
        ],
    }


def _values(column: Json) -> list[tuple[Any, int]]:
    return [(entry["value"], entry["items"]) for entry in column["values"]]


def _range(column: Json, params: Params) -> dict[str, Any]:
    name, given = column["name"], dict(params)
    return {
        "column": name,
        "min": column["minimum"],
        "max": column["maximum"],
        "low": given.get(f"{_MIN}{name}", ""),
        "high": given.get(f"{_MAX}{name}", ""),
    }
