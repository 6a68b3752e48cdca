"""What the command line prints, made safe to print. stdout is data, stderr is talk."""

from __future__ import annotations

import json
import re
from typing import Any

from rich.console import Console
from rich.text import Text

from pipeline.report.text import plain

_UNLIMITED = 10_000  # columns of a table that no person's terminal cuts
_UNSAFE = re.compile("[\x7f-\x9f\ud800-\udfff]")  # what JSON may hold, and a terminal not
stderr = Console(stderr=True, highlight=False)


def stdout() -> Console:
    """Where data goes; a table is cut to fit a terminal and nothing else."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_UNLIMITED)


def talk(text: str) -> None:
    """Say something to the person; never part of the data."""
    stderr.print(cell(text), soft_wrap=True)


def print_line(text: str) -> None:
    """Print one line of data as it is, however long."""
    print(plain(text))  # noqa: T201


def print_json(content: Any) -> None:
    """Print one JSON document on one line."""
    text = json.dumps(content, ensure_ascii=False, default=str)
    print(_UNSAFE.sub(lambda char: f"\\u{ord(char[0]):04x}", text))  # noqa: T201


def cell(text: str) -> Text:
    """The same as Rich takes it, with neither markup nor `:names:` of emoji in it."""
    return Text(plain(text))
