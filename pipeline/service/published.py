"""What answers: the newest published state of a catalog, swapped while requests go on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from threading import Lock

import numpy as np

from pipeline.catalog.browse import Column, columns, find_items
from pipeline.config import Config
from pipeline.publish.store import PublicationStore
from pipeline.search.searcher import Searcher
from pipeline.search.searcher import open as open_searcher

_WARM_SIDE = 64  # pixels of the photo that loads a model


class Published:
    """One published state, opened; it closes when it is retired and its last request has ended."""

    def __init__(self, searcher: Searcher) -> None:
        self.searcher = searcher
        self.number = searcher.publication.number
        """By which answers name it."""
        self._lock = Lock()
        self._users = 0
        self._is_retired = False

    @cached_property
    def columns(self) -> list[Column]:
        """What the columns of the catalog hold."""
        return columns(self.searcher.catalog)

    @cached_property
    def item_count(self) -> int:
        """How many items the catalog has that can be found."""
        return find_items(self.searcher.catalog, limit=0).total

    def warm(self) -> None:
        """Load the models, and encode a gray photo, so that the first query does not wait."""
        from PIL import Image

        gray = Image.fromarray(np.full((_WARM_SIDE, _WARM_SIDE, 3), 128, np.uint8))
        self.searcher.encode([self.searcher.prepare(gray)])

    @contextmanager
    def used(self) -> Iterator[None]:
        """Keep it open within the block."""
        with self._lock:
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                is_over = self._is_retired and not self._users
            if is_over:
                self.searcher.close()

    def retire(self) -> None:
        """Close it, now or when its last request ends."""
        with self._lock:
            is_over = not (self._is_retired or self._users)
            self._is_retired = True
        if is_over:
            self.searcher.close()


class PublishedState:
    """The state that answers now.

    with state.current() as published: published.searcher.search(...)
    """

    def __init__(self, config: Config) -> None:
        """Open what is published now.

        Raises:
            NotBuiltError: nothing is.
        """
        self.config = config
        self._store = PublicationStore(config)
        self._lock = Lock()
        self._now = self._open()
        self._is_closed = False

    @contextmanager
    def current(self) -> Iterator[Published]:
        """Use the newest state, within the block, whatever is published meanwhile."""
        with self._lock:
            now = self._now
            used = now.used()
            used.__enter__()
        try:
            yield now
        finally:
            used.__exit__(None, None, None)

    @property
    def number(self) -> int:
        """The number of the publication that answers now."""
        return self._now.number

    def refresh(self) -> bool:
        """Open what has been published since, and let it answer; return whether there was."""
        if self._store.current_number() in (None, self._now.number):
            return False
        new = self._open()
        with self._lock:
            old, self._now = self._now, new
            is_closed = self._is_closed
        old.retire()
        if is_closed:  # while the new one was being opened
            new.retire()
        return True

    def close(self) -> None:
        """Close the state when its last request ends."""
        with self._lock:
            self._is_closed = True
        self._now.retire()

    def _open(self) -> Published:
        searcher = open_searcher(self.config)
        published = Published(searcher)
        try:
            published.warm()
        except BaseException:
            searcher.close()
            raise
        return published
