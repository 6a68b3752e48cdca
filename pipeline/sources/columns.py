"""The columns of a table: what its heading calls them, and the cells of each row by column."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import count, zip_longest
from pathlib import Path
from typing import Any

from pipeline.errors import SourceError
from pipeline.sources.cells import blank

_UNNAMED = re.compile(r"(?:#[0-9]+)?")  # as `_distinct` numbers what has no name
_MAX_SHOWN, _MAX_SHOWN_CHARS = 30, 500  # columns, and their characters, in an error


def read_columns(path: Path, rows: Iterator[list[Any] | None]) -> list[str]:
    """Read the heading, which is the first row that is not blank; name each column once.

    Raises:
        SourceError: there is no heading.
    """
    heading = next((row for row in rows if row is None or not all(map(blank, row))), None)
    if heading is None:
        raise SourceError("no heading", where=path, hint="the first row must name the columns")
    return _distinct(str(name).strip() for name in heading)


def check_columns(
    path: Path, columns: list[str], needed: Iterable[tuple[str, str | None]], settings: str
) -> None:
    """Raise a SourceError, which lists the columns that there are, if a needed one is missing.

    `needed` has pairs (setting, column, or None if it names none), `settings` is where these are,
    such as "source.columns".
    """
    missing = next(
        (pair for pair in needed if pair[1] is not None and pair[1] not in columns), None
    )
    if missing is None:
        return
    setting, name = missing
    message, hint = f"no column {name!r}", f"set {settings}.{setting} to one of {shown(columns)}"
    where = settings.removesuffix(".columns")
    if any("\0" in column for column in columns):
        message += ", and NUL characters in the heading"
        hint = f"save it as CSV in UTF-8, or set {where}.encoding to that of the file"
    elif len(columns) == 1:
        hint += f" (is {where}.delimiter right?)"
    raise SourceError(message, where=path, hint=hint)


def records(
    columns: list[str], rows: Iterable[list[Any] | None]
) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Yield each row below the heading with its number, from 1: its cells by column, or a reason.

    A row without as many cells as the heading may lack any of them, not the last: nothing in it can
    be relied on. Only blank cells beyond the last column, and those of last columns without a name,
    may be there or not.

        rows = csv_rows(path)
        for number, cells in records(read_columns(path, rows), rows): ...
    """
    named = [n for n, name in enumerate(columns, 1) if not _UNNAMED.fullmatch(name)]
    needed = max(named, default=len(columns))
    for number, cells in enumerate(rows, 1):
        yield number, _record(columns, needed, cells)


def _record(columns: list[str], needed: int, cells: list[Any] | None) -> dict[str, Any] | str:
    if cells is None:
        return "unreadable row"
    if all(map(blank, cells)):
        return "blank row"
    if len(cells) < needed or not all(map(blank, cells[len(columns) :])):
        return "wrong number of fields"
    record = dict(zip_longest(columns, cells[: len(columns)], fillvalue=""))
    if all(str(cell).strip() == column for column, cell in record.items()):
        return "heading once more"  # of files that were put together
    return record


def _distinct(names: Iterable[str]) -> list[str]:
    """Number the names that come again: `size`, `size#2`, `size#3`."""
    names = list(names)
    given, used = set(names), set[str]()
    numbers: defaultdict[str, count[int]] = defaultdict(lambda: count(2))
    for position, name in enumerate(names):
        if name in used:
            numbered = (f"{name}#{number}" for number in numbers[name])
            names[position] = next(new for new in numbered if new not in given)
        used.add(name)
    return names


def shown(columns: list[str]) -> str:
    """List columns in a line: `shown(["id", "name"])` is "id, name".

    A file that is no table may have anything for them: they are escaped and cut.
    """
    shown = columns[:_MAX_SHOWN]
    text = ", ".join(ascii(name)[1:-1] if not name.isprintable() else name for name in shown)
    text = text if len(text) <= _MAX_SHOWN_CHARS else text[:_MAX_SHOWN_CHARS] + "…"
    more = f" and {len(columns) - len(shown)} more" if len(columns) > len(shown) else ""
    return text + more
