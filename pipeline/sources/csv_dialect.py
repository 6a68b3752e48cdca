"""How a CSV file is written: its delimiter and its escapes, as given or as its first rows show."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

DELIMITERS = ",;\t|"
_BACKSLASH = "\\"


class CsvFormat(Protocol):
    """The settings of a CSV file (`config.CsvSettings`); None: as the file shows."""

    @property
    def delimiter(self) -> str | None:
        """The character between columns."""

    @property
    def encoding(self) -> str | None:
        """The encoding, such as cp1252."""

    @property
    def escape(self) -> str | None:
        r"""The character that takes the meaning from the next, such as a backslash in `\"`."""


@dataclass(frozen=True)
class Dialect:
    """How fields are separated, quoted and escaped; a quote in quotes may always be doubled.

    list(Dialect(";").read(['a;"b;c"']))  # [["a", "b;c"]]
    """

    delimiter: str
    escape: str | None = None
    skips_blanks: bool = False
    """Whether blanks after a delimiter do not count, so that a quote may follow them."""

    def read(self, lines: Iterable[str], *, strict: bool = True) -> Iterator[list[str]]:
        """Parse lines, from which no more are taken than rows are asked for.

        Raises:
            csv.Error: if `strict`, a quote is out of place or never closed.
        """
        return csv.reader(
            map(self._with_full_escapes, lines) if self.escape else lines,
            delimiter=self.delimiter,
            escapechar=self.escape,
            skipinitialspace=self.skips_blanks,
            strict=strict,
        )

    def _with_full_escapes(self, line: str) -> str:
        r"""Keep an escape of what has no meaning, as in `C:\new`; `\N` alone is NULL (MySQL)."""
        if self.escape and self.escape in line:
            return self._escapes.sub(self._full_escape, line)
        return line

    @cached_property
    def _escapes(self) -> re.Pattern[str]:
        escape, delimiter = re.escape(self.escape or ""), re.escape(self.delimiter)
        null = f"(?<![^{delimiter}]){escape}N(?![^{delimiter}\r\n])"
        return re.compile(f'(?P<null>{null})|{escape}(?P<special>["{escape}{delimiter}\r\n])?')

    @staticmethod
    def _full_escape(found: re.Match[str]) -> str:
        if found["null"]:
            return ""
        return found[0] if found["special"] else 2 * found[0]


def guess_dialect(lines: Sequence[str], how: CsvFormat) -> Dialect:
    r"""Choose the dialect by which most of a file's first lines are rows as long as the heading.

    Of equally good ones, it is the one with the longest heading, and the simplest.

        guess_dialect(["id;image\n", "1;http://a/b.jpg\n"], CsvSettings())  # Dialect(";")
    """
    candidates = [
        Dialect(delimiter, escape, skips_blanks)
        for escape in ([how.escape] if how.escape else [None, _BACKSLASH])
        for skips_blanks in (False, True)
        for delimiter in how.delimiter or DELIMITERS
    ]
    return max(candidates, key=lambda dialect: _fit(dialect, lines))


def _fit(dialect: Dialect, lines: Sequence[str]) -> tuple[int, int]:
    """How many more rows below the heading fit it than not, and how many columns it has."""
    heading, *rows = _rows(dialect, lines) or [[]]
    width = len(heading or ())
    # One row may look escaped by chance; if it is, it is read as such without a guess.
    fit = sum(_row_fit(row, width) for row in rows) - (dialect.escape is not None)
    return max(0, fit) if width > 1 else 0, width


def _row_fit(row: list[str] | None, width: int) -> int:
    if row is None or len(row) != width:
        return -1 if row != [] else 0
    return int(not any(map(_is_spoilt, row)))


def _rows(dialect: Dialect, lines: Sequence[str]) -> list[list[str] | None]:
    rows: list[list[str] | None] = []
    reader = dialect.read(lines)
    while True:
        try:
            rows.append(next(reader))
        except StopIteration:
            return rows
        except csv.Error:
            rows.append(None)


def _is_spoilt(cell: str) -> bool:
    """Whether quotes or escapes were left in a cell that another dialect may understand."""
    return '"' in cell and ('\\"' in cell or (cell[0] == " " and cell.lstrip(" ")[:1] == '"'))
