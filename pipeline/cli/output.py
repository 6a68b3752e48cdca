"""Printing for all commands, safe for a terminal: stdout is data, stderr is remarks."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.report.text import cell, plain

UNLIMITED_WIDTH = 10_000  # columns of output that goes to a file or a program
_FRAME_LINES = 6  # of a table: title, headings, caption, and lines between them
_UNSAFE = re.compile("[\x7f-\x9f\ud800-\udfff]")  # legal in JSON; a terminal obeys them
stderr = Console(stderr=True, highlight=False)


def stdout() -> Console:
    """Return the console for data; tables are cut to fit a terminal, but not a file or a pipe."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=UNLIMITED_WIDTH)


def talk(text: str) -> None:
    """Print a remark for the person on stderr; it is never part of the data."""
    stderr.print(cell(text), soft_wrap=True)


def print_table(table: Table | Text) -> None:
    """Print a table; a text as it is.

    Where stdout has so few columns that words would be cut, or that values would take more than a
    line on average, each row is printed as lines of a heading and its value instead.

        print_table(evaluation_table)
    """
    console = stdout()
    if isinstance(table, Table) and (rows := list(_rows(table))):
        lines = [[part.text for part in line] for line in console.render_lines(table)]
        is_cut = _ellipses(lines) > _ellipses(column.cells for column in table.columns)
        if is_cut or len(lines) - _FRAME_LINES > sum(map(len, rows)):
            _print_rows(console, table, rows)
            return
    console.print(table)


def _print_rows(console: Console, table: Table, rows: Iterable[list[Text]]) -> None:
    if table.title:
        console.print(table.title, style="table.title", soft_wrap=True)
    for first, *others in rows:
        console.print(first, style="bold", soft_wrap=True)
        for line in others:
            console.print(Text("    ") + line, soft_wrap=True)
    if table.caption:
        console.print(table.caption, style="table.caption", soft_wrap=True)


def _ellipses(lines: Iterable[Iterable[object]]) -> int:
    """How many there are in all texts; Rich cuts words with them."""
    return sum(f"{text}".count("…") for line in lines for text in line)


def _rows(table: Table) -> Iterator[list[Text]]:
    """The lines of each row: `heading: value`, where there is a value."""
    headings = [f"{column.header}" for column in table.columns]
    for cells in zip(*(column.cells for column in table.columns), strict=True):
        yield [
            cell(f"{heading}: {value}")
            for heading, value in zip(headings, map(str, cells), strict=True)
            if value
        ]


def print_line(text: str) -> None:
    """Print one line of data, however long."""
    print(plain(text))  # noqa: T201


def print_json(content: Any) -> None:
    """Print one JSON document on one line; in ASCII, unless stdout is UTF-8."""
    print(_json(content))  # noqa: T201


def print_json_list(entries: Iterable[Any]) -> None:
    """Print one JSON list, an entry on each line, without holding all of them."""
    before = "["
    for entry in entries:
        print(before + _json(entry), end="")  # noqa: T201
        before = ",\n"
    print("]" if before != "[" else "[]")  # noqa: T201


def _json(content: Any) -> str:
    is_utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    text = json.dumps(content, ensure_ascii=not is_utf8)
    return _UNSAFE.sub(lambda char: f"\\u{ord(char[0]):04x}", text)
