"""How long work reports its progress, without knowing where it is shown."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Advance(Protocol):
    """Shows progress within a task."""

    def __call__(self, count: int, status: str = "") -> None:
        """Show the number of units just finished, and a short text about the present status."""


def ignored(count: int, status: str = "") -> None:
    """Show no progress."""


class Progress(Protocol):
    """What a stage reports to; the command line draws bars, a notebook may ignore it."""

    def task(self, label: str, total: int | None, unit: str) -> AbstractContextManager[Advance]:
        """Open a task of `total` units (`None` if unknown); the block calls what it yields.

        with progress.task("embedding", len(photos), "photos") as advance: advance(1)
        """

    def note(self, text: str) -> None:
        """Show one line about something that happened."""


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
