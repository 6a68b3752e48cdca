"""Photos of all requests → vectors, in batches, on the one thread that runs models."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import NamedTuple

from pipeline.errors import PipelineError
from pipeline.search.query import EncodedPhoto
from pipeline.search.searcher import PreparedQueries, Searcher

MAX_BATCH = 16  # photos
MAX_WAIT = 0.008  # seconds that photos wait for the next one that is being decoded


class _Waiting(NamedTuple):
    searcher: Searcher
    photo: PreparedQueries
    encoded: Future[EncodedPhoto]


class BatchEncoder:
    """Encodes photos on one thread, up to 16 at a time.

    A batch begins when no more photos are being decoded, when it is full, or when none has come
    for 8 ms: those of clients that are answered together come back together.
    """

    def __init__(self, on_batch: Callable[[int], None] = lambda _: None) -> None:
        """Start the thread; `on_batch` is told the size of each batch."""
        self._on_batch = on_batch
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._coming = 0  # photos that are being decoded, or wait for that
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)
        self._thread.start()

    @contextmanager
    def announced(self) -> Iterator[None]:
        """Say that a photo is decoded, or waits for that, in the block; batches wait a little."""
        with self._lock:
            self._coming += 1
        try:
            yield
        finally:
            with self._lock:
                self._coming -= 1

    async def encode(self, searcher: Searcher, photo: PreparedQueries) -> EncodedPhoto:
        """Encode a photo that `searcher.prepare` made, together with those of other requests.

        Raises:
            PipelineError: an engine sees nothing in it.
        """
        encoded: Future[EncodedPhoto] = Future()
        self._queue.put(_Waiting(searcher, photo, encoded))
        return await asyncio.wrap_future(encoded)

    def close(self) -> None:
        """Encode what waits, and end the thread."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            batch = [first, *self._others()]
            groups = defaultdict(list)
            for waiting in batch:
                groups[tuple(waiting.searcher.engines.values())].append(waiting)
            for group in groups.values():
                self._encode(group)

    def _others(self) -> Iterator[_Waiting]:
        """Yield what else waits, and what comes soon."""
        for _ in range(MAX_BATCH - 1):
            try:
                waiting = self._queue.get(bool(self._coming), MAX_WAIT)
            except queue.Empty:
                return
            if waiting is None:  # the end: for `_run` to see, when these are done
                self._queue.put(None)
                return
            yield waiting

    def _encode(self, group: Sequence[_Waiting]) -> None:
        """Encode photos of the same engines; whatever fails is told to those who wait."""
        group = [waiting for waiting in group if waiting.encoded.set_running_or_notify_cancel()]
        if not group:
            return
        self._on_batch(len(group))
        try:
            results = group[0].searcher.encode([waiting.photo for waiting in group])
        except BaseException as error:
            for waiting in group:
                waiting.encoded.set_exception(error)
            return
        for waiting, result in zip(group, results, strict=True):
            if isinstance(result, PipelineError):
                waiting.encoded.set_exception(result)
            else:
                waiting.encoded.set_result(result)
