"""Printing for all commands, safe for a terminal: stdout is data, stderr is remarks."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console

from pipeline.report.text import cell, plain

UNLIMITED_WIDTH = 10_000  # columns of output that goes to a file or a program
_UNSAFE = re.compile("[\x7f-\x9f\ud800-\udfff]")  # legal in JSON; a terminal obeys them
stderr = Console(stderr=True, highlight=False)


def stdout() -> Console:
    """Return the console for data; tables are cut to fit a terminal, but not a file or a pipe."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=UNLIMITED_WIDTH)


def talk(text: str) -> None:
    """Print a remark for the person on stderr; it is never part of the data."""
    stderr.print(cell(text), soft_wrap=True)


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
