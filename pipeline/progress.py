"""How long work tells of itself, without knowing where it is shown."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Advance(Protocol):
    """Call it with the number of units just finished, and how things stand if that is of use."""

    def __call__(self, count: int, standing: str = "") -> None:
        """Show both."""
        ...


def ignored(count: int, standing: str = "") -> None:
    """Show no progress."""


class Progress(Protocol):
    """What a stage reports to; the command line draws bars, a notebook may ignore it."""

    def task(self, label: str, total: int | None, unit: str) -> AbstractContextManager[Advance]:
        """Open a task of `total` units (`None` if unknown)."""
        ...

    def note(self, text: str) -> None:
        """Say one thing that happened."""
        ...


class Silent:
    """Shows nothing; notes go to the logger `pipeline`, where a host can see or silence them."""

    @contextmanager
    def task(self, label: str, total: int | None, unit: str) -> Iterator[Advance]:
        """Accept and ignore the task."""
        yield ignored

    def note(self, text: str) -> None:
        """Log the text."""
        logging.getLogger("pipeline").info(text)


SILENT: Progress = Silent()
