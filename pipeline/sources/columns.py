"""The heading of a table: what its columns are called, and whether those that are needed exist."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

from pipeline.errors import SourceError
from pipeline.sources.cells import blank

_MAX_SHOWN, _MAX_SHOWN_CHARS = 30, 500  # columns, and their characters, in an error


def read_columns(path: Path, rows: Iterator[list[Any] | None]) -> list[str]:
    """Read the heading, which is the first row that is not blank; name each column once.

    Raises:
        SourceError: there is no heading.
    """
    heading = next((row for row in rows if row is None or not all(map(blank, row))), None)
    if heading is None:
        raise SourceError("no heading", where=path, hint="the first row must name the columns")
    return _distinct(name.strip() for name in heading)


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
    message, hint = f"no column {name!r}", f"set {settings}.{setting} to one of {_shown(columns)}"
    if any("\0" in column for column in columns):
        message += ", and NUL characters in the heading"
        source = settings.removesuffix(".columns")
        hint = f"set {source}.encoding to that of the file, such as utf-16-le"
    raise SourceError(message, where=path, hint=hint)


def check_encoding(encoding: str | None, setting: str) -> None:
    """Raise a SourceError if Python does not know a text encoding."""
    try:
        "".encode("utf-8" if encoding is None else encoding)
    except (LookupError, ValueError) as error:
        hint = "leave it out, or name one such as utf-8 or cp1252"
        raise SourceError(f"{encoding!r} is no text encoding", where=setting, hint=hint) from error


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


def _shown(columns: list[str]) -> str:
    """List columns in a line; a file that is no table may have anything for them."""
    shown = columns[:_MAX_SHOWN]
    text = ", ".join(ascii(name)[1:-1] if not name.isprintable() else name for name in shown)
    text = text if len(text) <= _MAX_SHOWN_CHARS else text[:_MAX_SHOWN_CHARS] + "…"
    more = f" and {len(columns) - len(shown)} more" if len(columns) > len(shown) else ""
    return text + more + (" (is source.delimiter right?)" if len(columns) == 1 else "")
